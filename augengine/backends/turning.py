"""Vertical flips and quarter turns, by which every backend ends.

They move whole pixels of a square view, and every op after the resize either looks at one pixel, at
all of them or at a neighbourhood that is its own mirror image. So turning the finished view is
what `augengine.reference` says, which turns before the colours.

Legend: B images, V views of a crop group, C channels, S crop side.
"""

from collections.abc import Sequence

import numpy as np
import torch

from augengine.plan import Plan


@torch.no_grad()
def turn_views(
    outs: Sequence[torch.Tensor],  # a crop group each: [V, B, C, S, S]
    plan: Plan,
) -> None:
    """Mirror and turn in place the views for which the plan says so; the others are not touched."""
    if plan.version == 1:
        return
    # 0 to 7: the eight ways a square lies on itself, as far as `flip` leaves them open.
    poses = plan.quarter_turns + 4 * plan.vflip  # [B, V]
    for views, out in zip(plan.groups, outs, strict=True):
        for k, v in enumerate(views):
            for pose in np.unique(poses[:, v]).tolist():
                if pose:
                    rows = torch.from_numpy(np.flatnonzero(poses[:, v] == pose)).to(out.device)
                    out[k, rows] = _turn(out[k, rows], is_flipped=pose >= 4, quarter_turns=pose % 4)


def _turn(
    x: torch.Tensor,  # [N, C, S, S]
    *,
    is_flipped: bool,
    quarter_turns: int,
) -> torch.Tensor:
    return torch.rot90(x.flip(-2) if is_flipped else x, quarter_turns, (-2, -1))
