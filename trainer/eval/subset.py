"""A part of the labels: which images are in it, and the order in which a loader goes through them.

Drawn per class, so that one per cent of a balanced set is balanced, and nested: the images of 1 %
are among those of 10 %. SimCLR's published lists for ImageNet (imagenet_subsets/*.txt) are others.
"""

import math

import numpy as np

from shards.errors import UsageError
from shards.format import NO_LABEL
from shards.index import ShardIndex
from shards.order import SampleOrder
from shards.remotecache.cache_window import fitting_window
from shards.remotecache.upcoming import repeated_shards


def label_subset(
    labels: np.ndarray,  # [N] int - classes, NO_LABEL where there is none
    share: float,  # of each class, rounded up
    seed: int = 0,
) -> np.ndarray:
    """[M] int64 ids, ascending: the same share of every class, at least one image of each."""
    if not 0 < share <= 1:
        raise UsageError(f"the share of the labels lies in (0, 1], got {share}; try 0.1")
    chosen = []
    for label in np.unique(labels[labels > NO_LABEL]).tolist():
        # A generator a class: a class more or less leaves the others' images as they are.
        members = np.random.default_rng((seed, label)).permutation(np.flatnonzero(labels == label))
        # Against 0.1 x 30 = 3.0000000000000004, which is not 4.
        chosen.append(members[: math.ceil(share * len(members) - 1e-9)])
    return np.sort(np.concatenate(chosen))


class SubsetOrder(SampleOrder):
    """Endless order over some of the samples, shuffled anew in every epoch.

    Of remote shards it goes through a few at a time, as many as the cache holds twice, and it
    announces those that are worth fetching whole; all others are read image by image.
    """

    def __init__(self, ids: np.ndarray, seed: int, index: ShardIndex | None = None) -> None:
        """Describe the order.

        Args:
            ids: [M] int - the samples, each once.
            seed: any integer; another seed is another order.
            index: of these samples; without it they are shuffled together and none is announced.
        """
        self._ids = np.sort(ids)
        sizes, window = None, None
        if index is not None:
            sizes = np.bincount(index.rows(self._ids)["shard"], minlength=len(index.shards))
            touched = [s.size_bytes for s, n in zip(index.shards, sizes, strict=True) if n]
            window = fitting_window(index.directory, touched)
        super().__init__(
            len(ids),
            seed,
            shard_sizes=None if sizes is None else sizes.tolist(),
            window_shards=window,
        )
        self._is_whole = None
        if index is not None:
            shard_of = index.rows(self._ids)["shard"]
            self._is_whole = repeated_shards(index.directory, index.shards, shard_of)

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Epochs [B] and sample ids [B] of positions [B] in the stream."""
        epochs, places = super().__call__(positions)
        return epochs, self._ids[places]

    def shards_ahead(self, position: int) -> np.ndarray:
        """Shards to fetch whole for the samples from a position on: those worth it."""
        ahead = super().shards_ahead(position)
        if ahead is None or self._is_whole is None:
            return np.array([], np.int64)
        return ahead[self._is_whole[ahead]]

    def substitute(self, epochs: np.ndarray, ids: np.ndarray, attempt: int) -> np.ndarray:
        """Other samples of the part to use for bad ones."""
        places = np.searchsorted(self._ids, ids)
        return self._ids[super().substitute(epochs, places, attempt)]
