"""Which shards a known list of reads needs in full: those worth fetching whole from afar.

Evaluation reads a list of ids once, all of a set or a small part of it; training has an order with
windows instead (order.py), on a part of the labels too (`repeated_shards`). What is not worth it is
read image by image, where the server can send parts of files.
"""

import numpy as np

from shards.index import ShardIndex
from shards.remotecache.cache_window import cache_bound

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
        first, last = np.full((2, len(index.shards)), -1)
        last[shards] = np.arange(len(ids))  # of equal indices, numpy keeps the last
        first[shards[::-1]] = np.arange(len(ids))[::-1]
        dense = np.flatnonzero(_is_dense(index, shards) & (last >= 0))
        # In an order that jumps about, a shard would be gone before it is read again.
        bound = cache_bound(index.directory)
        if bound is not None and _most_bytes(index, dense, first[dense], last[dense]) > bound:
            dense = dense[:0]
        self._shards = dense[np.argsort(last[dense])]
        self._last = last[self._shards]

    def after(self, position: int) -> np.ndarray:
        """Shards that are read in full from a position of the list on, in about this order."""
        return self._shards[np.searchsorted(self._last, position) :]


def repeated_shards(index: ShardIndex, ids: np.ndarray) -> np.ndarray:
    """[S] bool: shards to fetch whole for samples that are read in every epoch.

    All that hold one of them when the cache keeps these for good; else those that are read much of.
    """
    shards = index.rows(ids)["shard"].astype(np.int64)
    wanted = np.bincount(shards, minlength=len(index.shards)) > 0
    bound = cache_bound(index.directory)
    if bound is None or int(_sizes_bytes(index)[wanted].sum()) <= bound:
        return wanted
    return wanted & _is_dense(index, shards)


def _is_dense(index: ShardIndex, shards: np.ndarray) -> np.ndarray:
    """[S] bool: shards of which many samples are wanted; `shards` [N] are those of the samples."""
    full = np.array([shard.num_samples for shard in index.shards])
    return np.bincount(shards, minlength=len(full)) >= _SHARE * full


def _most_bytes(index: ShardIndex, dense: np.ndarray, first: np.ndarray, last: np.ndarray) -> int:
    """Bytes of the shards that are in use at once, between their first and their last sample."""
    places = np.concatenate([first, last + 1])
    sizes = _sizes_bytes(index)[dense]
    # At equal places those that end come first: a shard may take the room of the one before.
    rows = np.lexsort((np.concatenate([sizes, -sizes]), places))
    return int(np.cumsum(np.concatenate([sizes, -sizes])[rows]).max(initial=0))


def _sizes_bytes(index: ShardIndex) -> np.ndarray:
    return np.array([shard.size_bytes for shard in index.shards], np.int64)
