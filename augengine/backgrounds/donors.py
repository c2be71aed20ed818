"""Whose background an image gets, or which colour, for the images of one batch that have masks.

Ryali et al. 2021, 2103.12719: BG_Random pastes the foreground on the background of another image;
BG_Swaps has an anchor share its background with a negative and not with its positive. The negative
is here an image of the batch: two images exchange backgrounds in a view, so each one's view shows
the background that the other one's other views have. The published extra view of a negative is not
made.
"""

from collections.abc import Sequence

import numpy as np

from augengine.plan import FILLED, PASTED
from augengine.policy import Background


def choose_backgrounds(
    policies: Sequence[Background | None] | np.ndarray,  # [V]
    numbers: np.ndarray | None,  # [B, V, 5] float64 in [0, 1) - gate, donor, three levels
    ids: np.ndarray,  # [B] int64
    has_mask: np.ndarray | None,  # [B] bool
) -> dict[str, np.ndarray]:
    """The plan's background [B, V], fill [B, V, 3] and donor [B, V]; none where all are kept."""
    if numbers is None or has_mask is None:
        return {}
    shape, rows = numbers.shape[:2], np.flatnonzero(has_mask)
    kind, fill = np.zeros(shape, np.uint8), np.zeros((*shape, 3), np.uint8)
    donor = np.zeros(shape, np.int64)
    for v, policy in enumerate(policies):
        if policy is None:
            continue
        gate, place, levels = numbers[rows, v, 0], numbers[rows, v, 1], numbers[rows, v, 2:]
        happens = gate < policy.prob
        if policy.kind == "remove":
            kind[rows[happens], v] = FILLED
            fill[rows[happens], v] = _levels(policy.fill, levels[happens])
        else:
            donors = DONORS[policy.kind](happens, place)
            pasted = donors >= 0
            kind[rows[pasted], v] = PASTED
            donor[rows[pasted], v] = ids[rows[donors[pasted]]]
    return {"background": kind, "fill": fill, "donor": donor}


def random_donors(
    happens: np.ndarray,  # [N] bool
    place: np.ndarray,  # [N] float64 in [0, 1)
) -> np.ndarray:
    """For each image another one, all as likely; -1 where nothing happens or there is no other."""
    others = len(place) - 1
    donors = (place * others).astype(np.int64)
    donors += donors >= np.arange(len(place))  # itself is left out
    return np.where(happens & (others > 0), donors, -1)


def swap_donors(
    happens: np.ndarray,  # [N] bool
    place: np.ndarray,  # [N] float64 in [0, 1)
) -> np.ndarray:
    """For each image its partner in pairs at random; the first of a pair says whether both swap.

    Of an odd number one has no partner. -1 as in `random_donors`.
    """
    shuffled = np.argsort(place, kind="stable")
    pairs = shuffled[: len(place) // 2 * 2].reshape(-1, 2)
    pairs = pairs[happens[pairs[:, 0]]]
    donors = np.full(len(place), -1, np.int64)
    donors[pairs[:, 0]], donors[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    return donors


DONORS = {"random": random_donors, "swap": swap_donors}


def _levels(
    fill: str | tuple[int, int, int],
    uniform: np.ndarray,  # [N, 3] float64 in [0, 1)
) -> np.ndarray:
    """[N, 3] uint8 colours."""
    if isinstance(fill, str):
        return ((uniform if fill == "color" else uniform[:, :1]) * 256).astype(np.uint8)
    return np.broadcast_to(np.array(fill, np.uint8), uniform.shape)
