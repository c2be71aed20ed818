"""The turns of the sets: places of an epoch, shared so that every stretch is in proportion.

The k-th of q turns of a set belongs at (2k + 1) / 2q of the epoch; the places are these times in
their order, the earlier set first where two are equal. So no set is ever far from its share, in a
batch as in an epoch, and the place of a turn, or the turn at a place, is found by counting: nothing
is stored.

Legend: S sets, q turns of a set in an epoch, E of all of them, B places.
"""

from collections.abc import Sequence

import numpy as np

# Above it 2 E^2 may be past int64; Python's integers, as numpy's objects, are exact but slow.
_MOST_INT64 = 2_000_000_000


class Interleaving:
    """The places 0 to E-1 of an epoch, each of them a turn of one set.

    After any number r of places a set has had r q / E turns, give or take 1/2 + S q / 2E, and of
    two sets give or take 1/2.
    """

    def __init__(self, quotas: Sequence[int]) -> None:
        """Nothing is computed yet.

        Args:
            quotas: [S] turns of each set in an epoch, at least one.
        """
        if not quotas or min(quotas) < 1:
            raise ValueError(f"every set has at least one turn in an epoch, got {list(quotas)}")
        self.quotas = tuple(int(quota) for quota in quotas)
        self.total = sum(self.quotas)  # E
        self._dtype = np.dtype(np.int64 if self.total <= _MOST_INT64 else object)

    def __call__(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sets [B] and their turns [B], counted from 0 in the epoch, of places [B] int64."""
        turns = self.counts(places)
        sets = np.zeros(len(places), np.int64)
        for number, quota in enumerate(self.quotas):
            turn = turns[number].astype(self._dtype)
            # A turn after the last has a place too, which belongs to nobody.
            is_its = (turn < quota) & (self._place(number, turn) == places)
            sets[is_its.astype(bool)] = number
        return sets, turns[sets, np.arange(len(places))]

    def counts(self, places: np.ndarray) -> np.ndarray:
        """[S, B] int64: turns that each set has had before these places [B], of 0 to E."""
        places = np.asarray(places, np.int64).astype(self._dtype)
        return np.stack([self._count(number, places) for number in range(len(self.quotas))])

    def _count(self, number: int, places: np.ndarray) -> np.ndarray:
        """[B] int64: the first turn of a set that is not before the place."""
        quota, num_sets = self.quotas[number], len(self.quotas)
        # Times are in proportion to places but for half a place a set.
        low = np.maximum(0, quota * (2 * places - num_sets) // (2 * self.total) - 1)
        high = np.minimum(quota, quota * (2 * places + num_sets) // (2 * self.total) + 2)
        while (low < high).any():
            middle = (low + high) // 2
            is_before = (middle < high) & (self._place(number, middle) < places)
            low = np.where(is_before, middle + 1, low)
            high = np.where(is_before, high, middle)
        return low.astype(np.int64)

    def _place(self, number: int, turns: np.ndarray) -> np.ndarray:
        """[B]: the places of turns of a set: its own before them, and all others'."""
        place, quota = turns, self.quotas[number]
        for other, others in enumerate(self.quotas):
            if other == number:
                continue
            # Turns k of the other with (2k + 1) / 2 others < (2 turn + 1) / 2 quota; of an earlier
            # set also at the same time.
            reached = ((2 * turns + 1) * others - (other > number)) // quota
            place = place + (reached + 1) // 2
        return place
