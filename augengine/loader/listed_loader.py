"""The views of a list of images, once: what evaluation reads, by whatever rule views are drawn.

The threads, the meter and the budget of bad samples are those of `ViewLoader`; its contract holds
here too, but for the substitutes. `center_plan.py` has the rule of most evaluations.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial

import numpy as np
import torch

from augengine.backends.backend import Backend
from augengine.decoders.decoder import Decoder
from augengine.loader.ahead import Ahead
from augengine.loader.arguments import check_kinds, whole
from augengine.loader.bad_samples import DEFAULT_BUDGET, BadSamples, log_bad_sample
from augengine.loader.batches import BatchMaker, Drawer
from augengine.loader.deliver import DEFAULT_STALL_S, deliver
from augengine.loader.engine import choose_engine
from augengine.loader.image_source import ImageSource
from augengine.loader.in_flight import InFlight
from augengine.loader.meter import Meter
from augengine.loader.samples import Listed
from augengine.views import BadSample, Views
from shards.errors import UsageError
from shards.index import ShardIndex
from shards.reader import ShardReader


def iter_listed_views(
    index: ShardIndex,
    draw: Drawer,  # ids, epochs (all 0) and image sizes to a plan
    batch_size: int,
    *,
    backend: Backend | str = "auto",
    decoder: Decoder | str = "auto",
    device: torch.device | str | None = None,  # of what is named
    ids: np.ndarray | None = None,  # [N] int - which samples; None: all of them
    num_workers: int = 2,
    prefetch: int = 2,
    decoded_bytes: int | None = None,  # most of decoded images at a time (in_flight.py)
    bad_budget: float = DEFAULT_BUDGET,
    on_bad: str = "substitute",
    on_warning: Callable[[BadSample], None] = log_bad_sample,
    verify: bool = False,
    stall_s: float = DEFAULT_STALL_S,
) -> Generator[Views, None, None]:
    """Every sample once, in the order of `ids`; the last batch is partial.

    A bad sample has no substitute here, which would be judged by the label of another image: it is
    left out of its batch's `ids`, stands in its `bad`, is named through `on_warning` (a batch of
    nothing else is not given) and counted against the budget (DataError; with `on_bad="fail"` none
    is allowed). Stopping early ends the threads.
    """
    check_kinds(index=index)
    batch_size = whole("batch_size", batch_size)
    ids = np.arange(len(index)) if ids is None else np.asarray(ids, dtype=np.int64)
    if batch_size < 1:
        raise UsageError(f"the batch size is at least 1, got {batch_size}")
    backend, decoder = choose_engine(backend, decoder, device, num_workers)
    meter, bad = Meter(), BadSamples(bad_budget, on_bad, on_warning, str(index.directory))
    with ShardReader(index, verify=verify) as reader:
        samples = Listed(reader, index, ids, batch_size)
        source = ImageSource(index, reader, decoder, meter)
        batches = Ahead(
            partial(
                BatchMaker,
                *(index, samples, source, draw, backend, meter),
                in_flight=InFlight(decoded_bytes),
            ),
            num_workers=num_workers,
            prefetch=prefetch,
            num_items=samples.num_batches,
            interrupt=reader.cancel,
            stall_s=stall_s,
        )
        with closing(batches):
            for _ in range(samples.num_batches):
                views = deliver(batches, bad, meter)
                if views is not None:
                    yield views
