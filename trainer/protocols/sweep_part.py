"""The held-out part of the training set, on which a sweep chooses; and the choice.

A protocol chooses its rates here and nowhere else, and no function here is given a test image. A
class gives a tenth of its images and at least one, unless it has only one, which stays with those
that are fitted.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

HELD_OUT_SHARE = 0.1
T = TypeVar("T")


def held_out_part(
    labels: np.ndarray,  # [N] int - classes
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Places [A] that are fitted and places [B] that are held out, ascending; A + B = N."""
    is_held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels).tolist():
        members = np.random.default_rng((seed, label)).permutation(np.flatnonzero(labels == label))
        number = max(1, round(HELD_OUT_SHARE * len(members))) if len(members) > 1 else 0
        is_held_out[members[:number]] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def best(scores: Mapping[T, float]) -> T:
    """The candidate of the highest score, the first of equals; one that diverged never wins."""
    finite = {candidate: score for candidate, score in scores.items() if score == score}
    ranked = finite or scores
    return max(ranked, key=lambda candidate: ranked[candidate])
