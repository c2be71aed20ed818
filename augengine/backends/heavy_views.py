"""Heavy views, made of what any backend has finished.

A heavy view begins as the pixels of its source, whoever made them, so both are the same crop in the
same colours. RandAugment's ops are of PIL's levels 0 to 255: the source is rounded to them. Tiles
move pixels as they are, and where the plan has neither op the view is its source to the bit.

Legend: B images, H heavy views, C channels, S side, N ops of RandAugment.
"""

from collections.abc import Sequence

import numpy as np
import torch

from augengine.backends.heavy_levels import LEVEL_OPS
from augengine.backends.heavy_moves import MOVES, cutout, move, shuffle_tiles
from augengine.heavy.heavy_ops import NAMES, NO_OP
from augengine.plan import Plan


@torch.no_grad()
def heavy_views(
    outs: Sequence[torch.Tensor],  # a crop group each: [V, B, C, S, S] - of any backend
    plan: Plan,
) -> torch.Tensor | None:
    """[H, B, C, S, S] as the first group, channels_last when flattened; None: the plan has none."""
    heavy = plan.heavy
    if heavy is None:
        return None
    source = outs[0]
    shape = (heavy.num_views, *source.shape[1:2], *source.shape[3:], source.shape[2])
    out = torch.empty(shape, dtype=source.dtype, device=source.device).permute(0, 1, 4, 2, 3)
    for h, v in enumerate(heavy.source.tolist()):
        out[h] = source[v]

    def of_views(array: np.ndarray) -> np.ndarray:  # [B, H, ...] -> [H * B, ...], view-major
        b, h, *further = array.shape  # one of no ops has no size to divide by
        return array.swapaxes(0, 1).reshape(h * b, *further)

    x = out.flatten(0, 1)
    ops = of_views(heavy.ops)
    rows = np.flatnonzero((ops != NO_OP).any(axis=1))
    if len(rows):
        at = torch.from_numpy(rows).to(x.device)
        levels = _to_levels(x[at], plan)
        amounts, places = of_views(heavy.amounts)[rows], of_views(heavy.places)[rows]
        for n in range(ops.shape[1]):
            _apply(levels, ops[rows, n], amounts[:, n], places[:, n])
        x[at] = _normalised(levels, plan).to(x.dtype)
    rows = np.flatnonzero(of_views(heavy.is_shuffled))
    if len(rows):
        at = torch.from_numpy(rows).to(x.device)
        x[at] = shuffle_tiles(x[at], of_views(heavy.tiles)[rows], heavy.grid)
    return out


def _apply(
    x: torch.Tensor,  # [R, C, S, S] uint8, changed in place
    ops: np.ndarray,  # [R] - one each
    amounts: np.ndarray,  # [R] float32
    places: np.ndarray,  # [R, 2] float32
) -> None:
    """All views of an op at once, and all that are moved."""
    names = np.array(NAMES)[ops]
    for name in np.unique(np.where(np.isin(names, MOVES), "moved", names)).tolist():
        if name == NAMES[NO_OP]:
            continue
        rows = np.flatnonzero(np.isin(names, MOVES) if name == "moved" else names == name)
        at = torch.from_numpy(rows).to(x.device)
        if name == "moved":
            x[at] = move(x[at], names[rows].tolist(), amounts[rows])
        elif name == "cutout":
            x[at] = cutout(x[at], amounts[rows], places[rows])
        else:
            x[at] = LEVEL_OPS[name](x[at], amounts[rows])


def _to_levels(x: torch.Tensor, plan: Plan) -> torch.Tensor:
    """[R, C, S, S] uint8, contiguous: the nearest level of each pixel."""
    mean, std = _channels(x, plan)
    levels = (x.float() * std + mean).clamp(0, 1).mul(255).add(0.5).floor()
    return levels.to(torch.uint8, memory_format=torch.contiguous_format)


def _normalised(levels: torch.Tensor, plan: Plan) -> torch.Tensor:
    mean, std = _channels(levels, plan)
    return (levels.float() / 255 - mean) / std


def _channels(x: torch.Tensor, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and std, [C, 1, 1] float32, where the views lie."""
    mean, std = (torch.tensor(values, device=x.device) for values in (plan.mean, plan.std))
    return mean[:, None, None], std[:, None, None]
