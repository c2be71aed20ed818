"""A part of the labels: which images are in it, and the order in which a loader goes through them.

Drawn per class, so that one per cent of a balanced set is balanced, and nested: the images of 1 %
are among those of 10 %. SimCLR's published lists for ImageNet (imagenet_subsets/*.txt) are others.
"""

import math

import numpy as np

from shards.errors import UsageError
from shards.format import NO_LABEL
from shards.order import SampleOrder


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
    """Endless order over some of the samples, shuffled anew in every epoch."""

    def __init__(self, ids: np.ndarray, seed: int) -> None:
        super().__init__(len(ids), seed)
        self._ids = np.sort(ids)

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Epochs [B] and sample ids [B] of positions [B] in the stream."""
        epochs, places = super().__call__(positions)
        return epochs, self._ids[places]

    def substitute(self, epochs: np.ndarray, ids: np.ndarray, attempt: int) -> np.ndarray:
        """Other samples of the part to use for bad ones."""
        places = np.searchsorted(self._ids, ids)
        return self._ids[super().substitute(epochs, places, attempt)]
