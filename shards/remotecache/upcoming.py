"""The shards that a known list of reads needs in full, and that are worth fetching whole.

Evaluation reads a list of ids once, all of a set or a small part of it; training has an order with
windows instead (order.py), on a part of the labels too (`repeated_shards`). What is not worth it is
read image by image, where the server can send parts of files.
"""

from collections.abc import Sequence

import numpy as np

from shards.format import ShardInfo
from shards.remotecache.cache_window import AnyFolder, cache_bound

# Of its samples, from which on a whole shard is fetched instead of single images.
_SHARE = 0.25


class Upcoming:
    """The shards that a list of samples reads much of, from any place in the list on."""

    def __init__(
        self, folder: AnyFolder, shards: Sequence[ShardInfo], shard_of: np.ndarray
    ) -> None:
        """Look at the whole list once.

        Args:
            folder: where the shards lie.
            shards: S of them, all that the folder holds.
            shard_of: [N] the shard of each sample, in the order in which they are read.
        """
        shard_of = shard_of.astype(np.int64)
        first, last = np.full((2, len(shards)), -1)
        last[shard_of] = np.arange(len(shard_of))  # of equal indices, numpy keeps the last
        first[shard_of[::-1]] = np.arange(len(shard_of))[::-1]
        dense = np.flatnonzero(_is_dense(shards, shard_of) & (last >= 0))
        # In an order that jumps about, a shard would be gone before it is read again.
        bound = cache_bound(folder)
        sizes = _sizes_bytes(shards)[dense]
        if bound is not None and _most_bytes(sizes, first[dense], last[dense]) > bound:
            dense = dense[:0]
        self._shards = dense[np.argsort(last[dense])]
        self._last = last[self._shards]

    def after(self, position: int) -> np.ndarray:
        """Shards that are read in full from a position of the list on, in about this order."""
        return self._shards[np.searchsorted(self._last, position) :]


def repeated_shards(
    folder: AnyFolder, shards: Sequence[ShardInfo], shard_of: np.ndarray
) -> np.ndarray:
    """[S] bool: shards to fetch whole for samples that are read in every epoch.

    All that hold one of them when the cache keeps these for good; else those that are read much of.
    The arguments are those of `Upcoming`.
    """
    wanted = np.bincount(shard_of, minlength=len(shards)) > 0
    bound = cache_bound(folder)
    if bound is None or int(_sizes_bytes(shards)[wanted].sum()) <= bound:
        return wanted
    return wanted & _is_dense(shards, shard_of)


def _is_dense(shards: Sequence[ShardInfo], shard_of: np.ndarray) -> np.ndarray:
    """[S] bool: shards of which many samples are wanted."""
    full = np.array([shard.num_samples for shard in shards])
    return np.bincount(shard_of, minlength=len(full)) >= _SHARE * full


def _most_bytes(sizes_bytes: np.ndarray, first: np.ndarray, last: np.ndarray) -> int:
    """Bytes of the shards that are in use at once, between their first and their last sample."""
    places = np.concatenate([first, last + 1])
    changes = np.concatenate([sizes_bytes, -sizes_bytes])
    # At equal places those that end come first: a shard may take the room of the one before.
    return int(np.cumsum(changes[np.lexsort((changes, places))]).max(initial=0))


def _sizes_bytes(shards: Sequence[ShardInfo]) -> np.ndarray:
    return np.array([shard.size_bytes for shard in shards], np.int64)
