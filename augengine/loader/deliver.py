"""The consumer's side of a loader: take the next batch, count its bad samples, hand over its views.

Training and evaluation both take their batches here. A batch that does not come in time is an error
that names the stage each thread is in.
"""

import time

import torch

from augengine.loader.ahead import Ahead, Stalled
from augengine.loader.bad_samples import BadSamples
from augengine.loader.batches import Batch
from augengine.loader.meter import Meter
from augengine.views import Views
from shards.errors import DataError

DEFAULT_STALL_S = 300.0  # longest wait for a batch


def deliver(batches: Ahead[Batch], bad: BadSamples, meter: Meter) -> Views | None:
    """The next batch's views, None where all of its samples are bad.

    Raises:
        DataError: too many bad samples, or none was ready in time.
        StopIteration: there are no more.
    """
    start = time.perf_counter()
    try:
        batch = next(batches)
    except Stalled:
        raise DataError(
            f"a batch is ready within data.stall_seconds, got none after "
            f"{time.perf_counter() - start:.0f} s ({meter.running()}); look at the disk or network "
            "the shards are on, or raise data.stall_seconds"
        ) from None
    views = batch.views
    meter.add("wait", 0 if views is None else views.batch_size, time.perf_counter() - start)
    bad.count(batch.bad, batch.num_drawn)
    if views is None:
        return None
    meter.delivered(views.batch_size, views.batch_size * views.num_views, len(batch.bad))
    for crops in (*views.crops, *(() if views.heavy is None else (views.heavy,))):
        if crops.is_cuda:  # made on a worker's stream: their memory is not free until ours is past
            crops.record_stream(torch.cuda.current_stream(crops.device))
    return views
