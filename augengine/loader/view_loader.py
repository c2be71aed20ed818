"""Views ahead of the consumer: cursor -> order -> read -> decode -> draw -> augment, on threads.

Batches are independent of each other given their position in the stream of samples, so each worker
thread makes whole batches (samples.py, batches.py), ahead.py keeps them in order and deliver.py
hands them over.

The contract. Code that differs is the bug.

Success. Batch b holds the samples at positions [cursor + b*G, cursor + (b+1)*G) of the stream, this
    rank's share of them, for every number of workers; its views depend on (seed, epoch, id, view)
    alone. A batch carries what was bad on the way to it (`bad`) and the place behind it (`cursor`,
    the loader's too after the delivery): a loader made from that, with any number of workers, goes
    on with bit-equal views.
Bad sample. It is named once, counted against the budget, and replaced by the order's substitute:
    `ids`, `labels` and the plan are the substitute's. Over the budget, with `on_bad="fail"`, or
    when the substitutes are bad too: DataError with the names, at the same batch for every number
    of workers.
Masks. Under a policy that changes backgrounds a sample whose mask is broken is a bad sample; one
    without a mask keeps its background. Whose background a view gets depends on the images of its
    batch on this rank too: on batch size and world, not on workers, cache or where a run goes on.
Cache. Views are bit-equal with any cache and without; see sample_cache.py.
Memory. Decoded images are within `decoded_bytes`, or one image's, or under a policy that changes
    backgrounds one batch's; this changes no view.
Failure. The batches before the failing one are delivered, then `next()` raises, and raises again;
    `cursor` stays behind the last batch delivered.
Stall. A batch that is not there after `stall_s` seconds of waiting is a DataError that says which
    stage each thread is in; `close()` then leaves the threads behind.
Cancel. `close()` drops what was made ahead and returns when the threads have ended; see ahead.py.
"""

from collections.abc import Callable
from functools import partial

import torch

from augengine.backends.backend import Backend
from augengine.caches.sample_cache import Cache
from augengine.decoders.decoder import Decoder
from augengine.draw import draw_plan
from augengine.loader.ahead import Ahead
from augengine.loader.arguments import check_counts, check_kinds, check_number, whole
from augengine.loader.bad_samples import DEFAULT_BUDGET, BadSamples, log_bad_sample
from augengine.loader.batches import BatchMaker
from augengine.loader.deliver import DEFAULT_STALL_S, deliver
from augengine.loader.engine import choose_engine
from augengine.loader.image_source import ImageSource
from augengine.loader.in_flight import InFlight
from augengine.loader.mask_source import MaskSource, check_masks
from augengine.loader.meter import Meter
from augengine.loader.samples import Shuffled
from augengine.policy import Policy
from augengine.views import START, BadSample, Views
from shards.cursor import Cursor
from shards.errors import DataError
from shards.index import ShardIndex
from shards.order import SampleOrder
from shards.reader import ShardReader
from shards.terminal.counted import counted


class ViewLoader:
    """Endless iterator of Views of an index under a policy; use it in a `with` block."""

    def __init__(
        self,
        index: ShardIndex,
        policy: Policy,
        *,
        batch_size: int,  # global: over all ranks
        seed: int,
        backend: Backend | str = "auto",  # or a name; called from every worker's thread, like ...
        decoder: Decoder | str = "auto",  # ... the decoder
        device: torch.device | str | None = None,  # of what is named (engine.py)
        cursor: Cursor = START,
        rank: int = 0,
        world: int = 1,
        num_workers: int = 2,
        prefetch: int = 2,  # finished batches kept ready, beyond the one each worker is making
        bad_budget: float = DEFAULT_BUDGET,
        on_bad: str = "substitute",
        on_warning: Callable[[BadSample], None] = log_bad_sample,
        order: SampleOrder | None = None,
        verify: bool = False,  # check each sample's crc32 when read
        cache: Cache | None = None,  # of this index's samples; outlives the loader
        decoded_bytes: int | None = None,  # most of decoded images at a time (in_flight.py)
        hand_over_on: torch.device | None = None,  # where views are wanted; None: where made
        stall_s: float = DEFAULT_STALL_S,  # longest wait for a batch
    ) -> None:
        check_kinds(index=index, policy=policy, cursor=cursor)
        if cache is not None:
            check_kinds(cache=cache)
        batch_size, seed = whole("batch_size", batch_size), whole("seed", seed)
        num_workers, prefetch = whole("num_workers", num_workers), whole("prefetch", prefetch)
        check_counts(index, batch_size, whole("rank", rank), whole("world", world))
        check_number("bad_budget", bad_budget, DEFAULT_BUDGET)
        check_number("stall_s", stall_s, DEFAULT_STALL_S)
        if decoded_bytes is not None:
            check_number("decoded_bytes", decoded_bytes, 2e9)
        check_masks(index, policy)
        backend, decoder = choose_engine(backend, decoder, device, num_workers)
        self.meter = Meter()
        self._bad = BadSamples(bad_budget, on_bad, on_warning, str(index.directory))
        self._failure: DataError | None = None
        self._index = index
        self._policy = policy
        self._cursor = cursor
        self._batch_size = batch_size
        self._reader = ShardReader(index, verify=verify)
        # Nothing below may hold `self`: a forgotten loader is collected although its threads run.
        order = index.order(seed) if order is None else order
        check_kinds(order=order)
        samples = Shuffled(self._reader, order, cursor, batch_size, rank, world)
        source = ImageSource(index, self._reader, decoder, self.meter, cache)
        draw = partial(draw_plan, policy, seed=seed)
        masks = MaskSource(index, self._reader, self.meter) if policy.has_background else None
        self._batches = Ahead(
            partial(
                BatchMaker,
                *(index, samples, source, draw, backend, self.meter, masks),
                in_flight=InFlight(decoded_bytes),
                hand_over_on=hand_over_on,
            ),
            num_workers=num_workers,
            prefetch=prefetch,
            interrupt=self._reader.cancel,
            stall_s=stall_s,
        )

    @property
    def index(self) -> ShardIndex:
        """The images behind the views: `len(loader.index)` of them, their names and classes."""
        return self._index

    @property
    def policy(self) -> Policy:
        """Under which they are made."""
        return self._policy

    @property
    def cursor(self) -> Cursor:
        """Behind the last batch delivered; a loader made from it goes on with the next one."""
        return self._cursor

    @property
    def bad_samples(self) -> tuple[BadSample, ...]:
        """The distinct bad samples met so far, in the order of delivery."""
        return self._bad.found

    def __iter__(self) -> "ViewLoader":
        return self

    def __next__(self) -> Views:
        """The next batch; raises DataError over the budget, RuntimeError after `close`."""
        if self._failure is not None:
            raise self._failure
        try:
            views = deliver(self._batches, self._bad, self.meter)
            if views is None:
                raise DataError(self._bad.no_substitute())
        except DataError as error:
            self._failure = error
            raise
        self._cursor = views.cursor
        return views

    def __repr__(self) -> str:
        return (
            f"ViewLoader({self._index!r}, {self._policy.name}, batch {self._batch_size}, "
            f"{self._cursor}, {counted(len(self.bad_samples), 'bad sample')})"
        )

    def close(self) -> None:
        """Stop the threads and close the reader; may be called twice."""
        self._batches.close()
        self._reader.close()

    def __enter__(self) -> "ViewLoader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
