"""Views ahead of the consumer: cursor -> order -> read -> decode -> draw -> augment, on threads.

The trainer iterates a `ViewLoader`, endlessly; evaluation iterates `iter_center_views`, once.
Batches are independent of each other given their position in the stream of samples, so each worker
thread makes whole batches (batches.py) and ahead.py delivers them in order.

The contract. Code that differs is the bug.

Success. Batch b holds the samples at positions [cursor + b*G, cursor + (b+1)*G) of the stream, this
    rank's share of them, for every number of workers; its views depend on (seed, epoch, id, view)
    alone. After a delivery `cursor` is behind the last batch delivered: a loader made from it, with
    any number of workers, goes on with bit-equal views.
Bad sample. It is named once, counted against the budget, and replaced by the order's substitute:
    `ids`, `labels` and the plan are the substitute's. Over the budget, with `on_bad="fail"`, or
    when the substitutes are bad too: DataError with the names, at the same batch for every number
    of workers.
Cache. Views are bit-equal with any cache and without; see sample_cache.py.
Failure. The batches before the failing one are delivered, then `next()` raises, and raises again;
    `cursor` stays behind the last batch delivered.
Stall. A batch that is not there after `stall_s` seconds of waiting is a DataError that says which
    stage each thread is in; `close()` then leaves the threads behind.
Cancel. `close()` drops what was made ahead and returns when the threads have ended; see ahead.py.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial

import numpy as np
import torch

from augengine.backends.backend import Backend
from augengine.caches.sample_cache import Cache
from augengine.decoders.decoder import Decoder
from augengine.draw import draw_plan
from augengine.loader.ahead import Ahead
from augengine.loader.bad_samples import DEFAULT_BUDGET, BadSample, BadSamples, log_bad_sample
from augengine.loader.batches import Batch, BatchMaker
from augengine.loader.center_plan import center_plan
from augengine.loader.deliver import deliver
from augengine.loader.engine import choose_engine
from augengine.loader.image_source import ImageSource
from augengine.loader.meter import Meter
from augengine.plan import Plan
from augengine.policy import IMAGENET_MEAN, IMAGENET_STD, Policy
from augengine.views import Views
from shards.cursor import Cursor
from shards.errors import DataError, UsageError
from shards.index import ShardIndex
from shards.order import SampleOrder
from shards.reader import ShardReader
from shards.remotecache.upcoming import Upcoming

START = Cursor(0)
DEFAULT_STALL_S = 300.0


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
        stall_s: float = DEFAULT_STALL_S,  # longest wait for a batch
    ) -> None:
        _check_counts(index, batch_size, rank, world)
        maker, decoder = choose_engine(backend, decoder, device, index, num_workers)
        self.meter = Meter()
        self._bad = BadSamples(bad_budget, on_bad, on_warning, str(index.directory))
        self._failure: DataError | None = None
        self._index = index
        self._policy = policy
        self._cursor = cursor
        self._batch_size = batch_size
        self._reader = ShardReader(index, verify=verify)
        # Nothing below may hold `self`: a forgotten loader is collected although its threads run.
        draw = partial(draw_plan, policy, seed=seed)
        source = ImageSource(index, self._reader, decoder, self.meter, cache)
        new_maker = partial(BatchMaker, index, source, draw, maker, self.meter)
        order = order or index.order(seed)
        meter, reader = self.meter, self._reader

        def batch_maker() -> Callable[[int], Batch]:
            make = new_maker()

            def make_numbered(number: int) -> Batch:
                with meter.batch(number, batch_size // world):
                    start = cursor.advance(number * batch_size)
                    reader.expect(order.shards_ahead(start.position))
                    epochs, ids = order(start.positions(batch_size, rank, world))
                    return make(epochs, ids, order)

            return make_numbered

        self._batches = Ahead(
            batch_maker,
            num_workers=num_workers,
            prefetch=prefetch,
            interrupt=reader.cancel,
            stall_s=stall_s,
        )

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
        self._cursor = self._cursor.advance(self._batch_size)
        return views

    def __repr__(self) -> str:
        return (
            f"ViewLoader({self._index!r}, {self._policy.name}, batch {self._batch_size}, "
            f"{self._cursor}, {len(self.bad_samples)} bad samples)"
        )

    def close(self) -> None:
        """Stop the threads and close the reader; may be called twice."""
        self._batches.close()
        self._reader.close()

    def __enter__(self) -> "ViewLoader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def iter_center_views(
    index: ShardIndex,
    size_px: int,
    batch_size: int,
    *,
    backend: Backend | str = "auto",
    decoder: Decoder | str = "auto",
    device: torch.device | str | None = None,  # of what is named
    ids: np.ndarray | None = None,  # [N] int - which samples; None: all of them
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    fraction: float = 1.0,  # side of the centre square over the image's shorter side
    num_workers: int = 2,
    prefetch: int = 2,
    bad_budget: float = DEFAULT_BUDGET,
    on_bad: str = "substitute",
    on_warning: Callable[[BadSample], None] = log_bad_sample,
    verify: bool = False,
    stall_s: float = DEFAULT_STALL_S,
) -> Generator[Views, None, None]:
    """Every sample once, in the order of `ids`, one centre view each; the last batch is partial.

    A bad sample has no substitute here, which would be judged by the label of another image: it is
    left out of its batch's `ids`, named through `on_warning`, and counted against the budget
    (DataError; with `on_bad="fail"` none is allowed). Stopping early ends the threads.
    """
    ids = np.arange(len(index)) if ids is None else np.asarray(ids, dtype=np.int64)
    if batch_size < 1:
        raise UsageError(f"the batch size is at least 1, got {batch_size}")
    maker, decoder = choose_engine(backend, decoder, device, index, num_workers)
    meter, bad = Meter(), BadSamples(bad_budget, on_bad, on_warning, str(index.directory))

    def draw(ids: np.ndarray, epochs: np.ndarray, sizes: np.ndarray) -> Plan:
        return center_plan(ids, sizes, size_px, mean, std, fraction=fraction)

    with ShardReader(index, verify=verify) as reader:
        source = ImageSource(index, reader, decoder, meter)
        upcoming = Upcoming(index.directory, index.shards, index.rows(ids)["shard"])

        def batch_maker() -> Callable[[int], Batch]:
            make = BatchMaker(index, source, draw, maker, meter)

            def make_numbered(number: int) -> Batch:
                reader.expect(upcoming.after(number * batch_size))
                some = ids[number * batch_size : (number + 1) * batch_size]
                return make(np.zeros_like(some), some)

            return make_numbered

        num_batches = -(-len(ids) // batch_size)
        batches = Ahead(
            batch_maker,
            num_workers=num_workers,
            prefetch=prefetch,
            num_items=num_batches,
            interrupt=reader.cancel,
            stall_s=stall_s,
        )
        with closing(batches):
            for _ in range(num_batches):
                views = deliver(batches, bad, meter)
                if views is not None:
                    yield views


def _check_counts(index: ShardIndex, batch_size: int, rank: int, world: int) -> None:
    if not len(index):
        raise DataError(f"a data set has at least one sample, got none in {index.directory}")
    if not 0 <= rank < world:
        raise UsageError(f"the rank lies in [0, world), got {rank} of {world}")
    if batch_size < 1 or batch_size % world:
        raise UsageError(
            f"the global batch size is a positive multiple of the {world} ranks, got {batch_size}; "
            f"try {max(1, batch_size // world) * world}"
        )
