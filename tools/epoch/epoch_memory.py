"""The memory of an order: what one rank keeps to know the next sample, in a fresh process.

`simulate_epoch.py` prints it. The order is a function and the cursor one number, so all there is to
find is what a window keeps of the shards, and the arrays of a batch while it is drawn.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from shards.cursor import Cursor
from shards.errors import UsageError
from shards.order import SampleOrder
from tools.epoch.epoch_shuffle import shard_sizes

_STATM = Path("/proc/self/statm")
_NUM_BATCHES = 20


def measure_memory(
    num_samples: int, num_shards: int, window_shards: int | None, batch_size: int, world: int
) -> int:
    """Bytes that come to be resident while the last rank asks for its part of some batches."""
    if not _STATM.is_file():
        raise UsageError(
            f"resident memory is read from {_STATM}, which is not there; run this on Linux"
        )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        arguments = num_samples, num_shards, window_shards, batch_size, world
        return pool.submit(_grow, *arguments).result()


def _grow(
    num_samples: int, num_shards: int, window_shards: int | None, batch_size: int, world: int
) -> int:
    # First a set of one shard, so that what any order needs of numpy is there before.
    small = SampleOrder(batch_size, 0, shard_sizes=[batch_size], window_shards=1)
    small(Cursor().positions(batch_size, world - 1, world))
    before = _resident_bytes()
    sizes = shard_sizes(num_samples, num_shards) if window_shards else None
    order = SampleOrder(num_samples, 0, shard_sizes=sizes, window_shards=window_shards)
    del sizes
    cursor = Cursor()
    for _ in range(_NUM_BATCHES):
        order(cursor.positions(batch_size, world - 1, world))
        cursor = cursor.advance(batch_size)
    return max(0, _resident_bytes() - before)


def _resident_bytes() -> int:
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
