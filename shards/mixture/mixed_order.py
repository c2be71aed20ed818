"""The order of a mixture: a pure function of seed, position and shares.

Every set is an endless stream of its own, in an order of its own (`order.py`): pass after pass,
each a permutation of it. The mixture takes the next one of a set at each of its turns
(`interleaving.py`), so after any number of positions all samples of a set have come equally often,
but for the ones that its present pass has not reached yet. The epoch that is told of a sample is
the pass of its set: it comes once in each, and its views are never drawn twice alike.

Shares may change at a position. From there on another epoch begins, with other quotas, and every
set goes on in its stream where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shards.mixture.interleaving import Interleaving
from shards.order import SampleOrder

# (position up to which, turns of each set in an epoch till then), in the order of positions.
Former = Sequence[tuple[int, Sequence[int]]]


class MixedOrder(SampleOrder):
    """The order of a mixture; ids count on from set to set."""

    def __init__(
        self,
        orders: Sequence[SampleOrder],
        quotas: Sequence[int],
        *,
        num_shards: Sequence[int],
        former: Former = (),
    ) -> None:
        """Describe the order.

        Args:
            orders: S of them, of the sets by themselves, all with windows or all without.
            quotas: [S] samples of each set in an epoch.
            num_shards: [S] shards of each set.
            former: the quotas before, where they have changed.

        Raises:
            ValueError: a quota below one, or former positions that go back.
        """
        super().__init__(sum(order.num_samples for order in orders), orders[0].seed)
        self.window_shards = orders[0].window_shards
        self._orders = tuple(orders)
        self._first_ids = _starts([order.num_samples for order in orders])
        self._first_shards = _starts(num_shards)
        self._segments = _segments(quotas, former)
        self._begins = np.array([segment.start for segment in self._segments])

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Passes [B] of their sets and sample ids [B], both int64, of positions [B] >= 0."""
        positions = np.asarray(positions, dtype=np.int64)
        sets, places = self._streams(positions)
        epochs, ids = np.empty_like(positions), np.empty_like(positions)
        for number in np.unique(sets).tolist():
            now = sets == number
            epochs[now], found = self._orders[number](places[now])
            ids[now] = self._first_ids[number] + found
        return epochs, ids

    def counts(self, position: int) -> list[int]:
        """[S] samples that each set has given before a position.

        c of a set of N: each of its samples has come c // N times, and c % N of them once more.
        """
        segment = self._segments[self._segment_of(np.array([position]))[0]]
        epoch, place = divmod(position - segment.start, segment.shares.total)
        turns = segment.shares.counts(np.array([place]))[:, 0].tolist()
        quotas = segment.shares.quotas
        return [t + epoch * q + n for t, q, n in zip(segment.taken, quotas, turns, strict=True)]

    def shards_ahead(self, position: int) -> np.ndarray | None:
        """Shards that the samples from a position on come from, one set's after the other's."""
        if self.window_shards is None:
            return None
        ahead = []
        for number, place in enumerate(self.counts(position)):
            shards = self._orders[number].shards_ahead(place)
            assert shards is not None
            ahead.append(self._first_shards[number] + shards)
        return np.concatenate(ahead)

    def substitute(self, epochs: np.ndarray, ids: np.ndarray, attempt: int) -> np.ndarray:
        """Other samples of the same sets to use for bad ones; see `SampleOrder.substitute`."""
        epochs, ids = np.asarray(epochs), np.asarray(ids, dtype=np.int64)
        sets = np.searchsorted(self._first_ids, ids, side="right") - 1
        found = np.empty_like(ids)
        for number in np.unique(sets).tolist():
            now, first = sets == number, self._first_ids[number]
            order = self._orders[number]
            found[now] = first + order.substitute(epochs[now], ids[now] - first, attempt)
        return found

    def _streams(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The set of each position [B], and how many of that set came before it [B]."""
        if positions.size and positions.min() < 0:
            raise ValueError(f"positions must be >= 0, got {positions.min()}")
        sets, places = np.empty_like(positions), np.empty_like(positions)
        segments = self._segment_of(positions)
        for number in np.unique(segments).tolist():
            segment, now = self._segments[number], segments == number
            epochs, within = np.divmod(positions[now] - segment.start, segment.shares.total)
            sets[now], turns = segment.shares(within)
            quotas, taken = np.array(segment.shares.quotas), np.array(segment.taken)
            places[now] = taken[sets[now]] + epochs * quotas[sets[now]] + turns
        return sets, places

    def _segment_of(self, positions: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._begins, positions, side="right") - 1


@dataclass(frozen=True, slots=True)
class _Segment:
    """A stretch of the stream with the same quotas."""

    start: int
    taken: tuple[int, ...]  # [S] of each set, before it
    shares: Interleaving


def _segments(quotas: Sequence[int], former: Former) -> tuple[_Segment, ...]:
    segments: list[_Segment] = []
    start, taken = 0, (0,) * len(quotas)
    for end, old in (*former, (None, quotas)):
        shares = Interleaving(old)
        segments.append(_Segment(start, taken, shares))
        if end is None:
            break
        if end < start or len(old) != len(quotas):
            raise ValueError(
                f"former quotas are one a set, up to positions that go on from {start}, got "
                f"{list(old)} up to {end}"
            )
        epochs, place = divmod(end - start, shares.total)
        turns = shares.counts(np.array([place]))[:, 0].tolist()
        counts = zip(taken, shares.quotas, turns, strict=True)
        taken = tuple(before + epochs * quota + turn for before, quota, turn in counts)
        start = end
    return tuple(segments)


def _starts(sizes: Sequence[int]) -> np.ndarray:
    """[S] int64: where each begins when they are laid end to end."""
    return np.cumsum([0, *sizes[:-1]], dtype=np.int64)
