"""An epoch that fails again and again and goes on with other numbers of ranks: is it exactly once?

`simulate_epoch.py` runs it. Nothing is modelled that the trainer computes: sample ids come from
`shards/order.py`, a rank's part of a batch from `shards/cursor.py`, and a restart reads the cursor
from the bytes that a checkpoint would hold. Only the training itself is left out.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shards.cursor import Cursor
from shards.order import SampleOrder

EPOCH = 3  # neither of its borders lies between two batches, unless the batch divides it
_POSITIONS_AT_ONCE = 1 << 16  # of the order; more leaves the processor's caches
_BITS = (1 << np.arange(8)).astype(np.uint8)
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)  # of a byte


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps between a start and the failure that ends it, or the epoch's end."""

    world: int
    first_step: int
    steps_kept: int  # up to the last checkpoint
    steps_lost: int  # after it; trained again by the next stretch


@dataclass(frozen=True, slots=True)
class EpochReport:
    """The result: breaks, the times that each sample came, and the part that was looked at."""

    num_samples: int
    times_seen: dict[str, int]  # samples that came 0 times, once, more often
    num_failures: int
    worlds: tuple[int, ...]
    steps: int
    steps_lost: int
    rank_splits_checked: int  # steps whose ranks' parts were put together and compared
    state_bytes: int  # of the cursor in a checkpoint
    bitmap_bytes: int

    @property
    def exactly_once(self) -> bool:
        """Whether every sample came once."""
        return self.times_seen == {"never": 0, "once": self.num_samples, "more often": 0}


def plan_failures(
    num_steps: int, num_failures: int, save_every: int, worlds: list[int], rng: np.random.Generator
) -> list[Stretch]:
    """Breaks of an epoch and the ranks that go on: each number comes before one comes twice.

    A failure strikes after any step; what was trained after the last checkpoint is lost.
    """
    strikes = np.sort(rng.integers(1, num_steps + 1, num_failures)).tolist()
    rounds = [rng.permutation(worlds) for _ in range(-(-(num_failures + 1) // len(worlds)))]
    stretches, start = [], 0
    for strike, world in zip([*strikes, num_steps], np.concatenate(rounds).tolist(), strict=False):
        is_end = len(stretches) == num_failures
        kept_to = strike if is_end else max(start, strike // save_every * save_every)
        stretches.append(Stretch(world, start, kept_to - start, strike - kept_to))
        start = kept_to
    return stretches


def run_epoch(
    order: SampleOrder,
    batch_size: int,
    stretches: list[Stretch],
    *,
    splits_per_stretch: int | None,  # steps whose ranks are compared; None: all of them
    rng: np.random.Generator,
    on_samples: Callable[[int], None] = lambda num_samples: None,
) -> EpochReport:
    """Consume one epoch as the ranks of all stretches do, and count how often each sample came.

    Raises:
        AssertionError: the ranks' parts of a step are not its batch.
    """
    num_samples, seen = order.num_samples, Counts(order.num_samples)
    begin = Cursor().advance(EPOCH * num_samples // batch_size * batch_size)
    saved, num_splits, lost = json.dumps(begin.state_dict()), 0, 0
    for stretch in stretches:
        cursor = Cursor.from_state_dict(json.loads(saved))
        steps = stretch.steps_kept + stretch.steps_lost
        for step in _sampled(steps, splits_per_stretch, rng):
            check_split(cursor.advance(step * batch_size), batch_size, stretch.world)
            num_splits += 1
        # Only what a checkpoint holds has been learned; the next stretch trains the rest again.
        end = cursor.advance(stretch.steps_kept * batch_size)
        for start in range(cursor.position, end.position, _POSITIONS_AT_ONCE):
            stop = min(start + _POSITIONS_AT_ONCE, end.position)
            epochs, ids = order(np.arange(start, stop))
            seen.add(ids[epochs == EPOCH])
            on_samples(stop - start)
        saved, lost = json.dumps(end.state_dict()), lost + stretch.steps_lost
    return EpochReport(
        num_samples=num_samples,
        times_seen=seen.summary(),
        num_failures=len(stretches) - 1,
        worlds=tuple(sorted({stretch.world for stretch in stretches})),
        steps=sum(s.steps_kept for s in stretches),
        steps_lost=lost,
        rank_splits_checked=num_splits,
        state_bytes=len(saved),
        bitmap_bytes=seen.num_bytes,
    )


def steps_of_epoch(num_samples: int, batch_size: int) -> int:
    """Steps from the batch that the epoch begins in to the one that it ends in, both included."""
    first = EPOCH * num_samples // batch_size
    return -(-(EPOCH + 1) * num_samples // batch_size) - first


def check_split(cursor: Cursor, batch_size: int, world: int) -> None:
    """The parts of all ranks, one after the other, are the batch."""
    parts = [cursor.positions(batch_size, rank, world) for rank in range(world)]
    batch = np.arange(cursor.position, cursor.position + batch_size)
    assert np.array_equal(np.concatenate(parts), batch), (cursor, batch_size, world)


class Counts:
    """Counts of ids, told apart as never, once, more often: two bits a sample."""

    def __init__(self, num_samples: int) -> None:
        self._num_samples = num_samples
        self._once = np.zeros(-(-num_samples // 8), np.uint8)
        self._again = np.zeros_like(self._once)

    def add(self, ids: np.ndarray) -> None:
        """Count some ids."""
        # Several of one call may share a byte, so each byte's bits are put together one by one.
        unique, counts = np.unique(ids, return_counts=True)
        bytes_, bits = unique >> 3, _BITS[unique & 7]
        repeated = (counts > 1) | ((self._once[bytes_] & bits) > 0)
        np.bitwise_or.at(self._once, bytes_, bits)
        np.bitwise_or.at(self._again, bytes_[repeated], bits[repeated])

    def summary(self) -> dict[str, int]:
        """The number of ids that came never, once, more often."""
        tables = (np.bincount(bits, minlength=256) for bits in (self._once, self._again))
        seen, again = (int(table @ _ONES) for table in tables)
        return {"never": self._num_samples - seen, "once": seen - again, "more often": again}

    @property
    def num_bytes(self) -> int:
        """Memory of the counts."""
        return self._once.nbytes + self._again.nbytes


def _sampled(num_steps: int, count: int | None, rng: np.random.Generator) -> list[int]:
    if count is None or num_steps <= count:
        return list(range(num_steps))
    inner = rng.choice(num_steps, count, replace=False).tolist()
    return sorted({0, num_steps - 1, *inner})
