"""Measures of a shuffle: how even an order is, and how often it opens a shard.

`simulate_epoch.py` prints it. Everything here is measured on positions drawn from one epoch of the
project's order; a uniform permutation of the same samples is drawn for the same figures.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shards.order import SampleOrder

MAX_POSITIONS = 1_000_000  # that displacement and correlation are measured on
NUM_BATCHES = 100
OPEN_SHARDS = 64  # as many tars as a reader keeps open
_MAX_READS = 1_000_000  # that are followed through the open tars
Drawer = Callable[[np.ndarray], np.ndarray]  # positions of one epoch -> ids


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Figures of one order."""

    displacement: float  # mean |id - position| over samples; 1/3 for a uniform permutation
    correlation: float  # of one id with the next; 0 for a uniform permutation
    shards_per_batch: float  # distinct ones, mean over batches
    entropy_bits: float  # of the shards of a batch, mean over batches
    num_positions: int  # looked at; all of the epoch where it has no more


def measure_shuffle(
    draw: Drawer, num_samples: int, num_shards: int, batch_size: int, rng: np.random.Generator
) -> Shuffle:
    """Displacement, mixing and serial correlation of an order of one epoch."""
    if num_samples <= MAX_POSITIONS:
        positions = np.arange(num_samples - 1)
    else:
        positions = np.sort(rng.integers(0, num_samples - 1, MAX_POSITIONS))
    ids, following = draw(positions), draw(positions + 1)
    starts = rng.integers(0, num_samples - batch_size, NUM_BATCHES)
    batches = [draw(np.arange(start, start + batch_size)) for start in starts.tolist()]
    shards = [np.bincount(shard_of(batch, num_samples, num_shards)) for batch in batches]
    return Shuffle(
        displacement=float(np.abs(ids - positions).mean() / num_samples),
        correlation=float(np.corrcoef(ids, following)[0, 1]),
        shards_per_batch=float(np.mean([np.count_nonzero(counts) for counts in shards])),
        entropy_bits=float(np.mean([_entropy(counts) for counts in shards])),
        num_positions=len(positions),
    )


def uniform_permutation(num_samples: int, rng: np.random.Generator) -> Drawer:
    """A true one where it fits into memory; else positions that come again get another id.

    Of a billion ids so few of those that are looked at would meet that no figure can tell.
    """
    if num_samples <= 10 * MAX_POSITIONS:
        return rng.permutation(num_samples).__getitem__
    return lambda positions: rng.integers(0, num_samples, len(positions))


def shard_of(ids: np.ndarray, num_samples: int, num_shards: int) -> np.ndarray:
    """The shard of each id, of shards that are as equal as they can be."""
    return np.searchsorted(_ends(num_samples, num_shards), ids, side="right")


def shard_sizes(num_samples: int, num_shards: int) -> list[int]:
    """Samples of each shard."""
    return np.diff(_ends(num_samples, num_shards), prepend=0).tolist()


def opens_per_shard(
    order: SampleOrder, epoch: int, num_shards: int, batch_size: int, world: int
) -> float:
    """The times that a tar is opened in an epoch, over all ranks; each keeps the last ones open.

    One rank is followed from the epoch's beginning: through all of it, or as many whole windows as
    a million reads reach.
    """
    local, num_samples = batch_size // world, order.num_samples
    window = num_samples * (order.window_shards or 1) / num_shards  # samples
    num_windows = max(1, int(_MAX_READS * world / window))
    num_steps = int(min(num_samples, num_windows * window) / batch_size)
    steps = epoch * num_samples + batch_size * np.arange(num_steps)
    ids = order((steps[:, None] + np.arange(local)).reshape(-1))[1]
    shards = shard_of(ids, num_samples, num_shards)
    followed = num_steps * batch_size / num_samples
    return world * count_opens(shards.tolist(), OPEN_SHARDS) / (num_shards * followed)


def count_opens(shards: Sequence[int], max_open: int) -> int:
    """Opens of one reader that closes the tar it used least recently, as `local_files.py` does."""
    opened: OrderedDict[int, None] = OrderedDict()
    count = 0
    for shard in shards:
        if shard not in opened:
            count += 1
            opened[shard] = None
            if len(opened) > max_open:
                opened.popitem(last=False)
        opened.move_to_end(shard)
    return count


def _ends(num_samples: int, num_shards: int) -> np.ndarray:
    return np.linspace(0, num_samples, num_shards + 1).astype(np.int64)[1:]


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())
