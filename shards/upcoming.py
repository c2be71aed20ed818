"""Which shards a known list of reads needs in full: those worth fetching whole from afar.

Evaluation reads a list of ids once, all of a set or a small part of it; training has an order with
windows instead (order.py).
"""

import numpy as np

from shards.index import ShardIndex

# Of its samples, from which on a whole shard is fetched instead of single images.
_SHARE = 0.25


class Upcoming:
    """The shards that a list of ids reads much of, from any place in the list on."""

    def __init__(self, index: ShardIndex, ids: np.ndarray) -> None:
        """Look at all rows once.

        Args:
            index: which samples there are.
            ids: [N] the samples, in the order in which they are read.
        """
        shards = index.rows(ids)["shard"].astype(np.int64)
        wanted = np.bincount(shards, minlength=len(index.shards))
        full = np.array([shard.num_samples for shard in index.shards])
        last = np.full(len(index.shards), -1)
        last[shards] = np.arange(len(ids))  # of equal indices, numpy keeps the last
        dense = np.flatnonzero((wanted >= _SHARE * full) & (last >= 0))
        self._shards = dense[np.argsort(last[dense])]
        self._last = last[self._shards]

    def after(self, position: int) -> np.ndarray:
        """Shards that are read in full from a position of the list on, in about this order."""
        return self._shards[np.searchsorted(self._last, position) :]
