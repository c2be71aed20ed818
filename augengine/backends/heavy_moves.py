"""RandAugment's ops that move pixels, the square of cutout, and tiles, many views at once.

The definitions of heavy/plain_ops.py: coordinates are whole numbers of 2^-16, so every device finds
the same pixels.

Legend: R views, S side in pixels, T tiles.
"""

from collections.abc import Sequence

import numpy as np
import torch

from augengine.heavy.heavy_ops import CUTOUT_COLOUR
from augengine.heavy.plain_ops import fixed_coefficients, middle

MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


def move(
    x: torch.Tensor,  # [R, 3, S, S] uint8
    names: Sequence[str],  # R, of MOVES
    amounts: np.ndarray,  # [R] float32
) -> torch.Tensor:
    """Each view by its own op; what comes from outside is black."""
    side = x.shape[-1]
    fixed = [fixed_coefficients(*pair, side) for pair in zip(names, amounts.tolist(), strict=True)]
    a = torch.tensor(fixed, device=x.device)[..., None, None]  # [R, 6, 1, 1]
    column = torch.arange(side, device=x.device)
    row = column[:, None]
    across = (a[:, 2] + a[:, 0] * column + a[:, 1] * row) >> 16  # [R, S, S]
    down = (a[:, 5] + a[:, 3] * column + a[:, 4] * row) >> 16
    inside = (across >= 0) & (across < side) & (down >= 0) & (down < side)
    place = torch.where(inside, down * side + across, 0).flatten(1)[:, None].expand(-1, 3, -1)
    return x.flatten(2).gather(-1, place).view_as(x) * inside[:, None]


def cutout(
    x: torch.Tensor,  # [R, 3, S, S] uint8
    sides: np.ndarray,  # [R] float32
    places: np.ndarray,  # [R, 2] float32 - of the middle, across and down
) -> torch.Tensor:
    """Each view with a gray square."""
    size = x.shape[-1]
    first = np.maximum(0, middle(places.astype(np.float64), size) - sides[:, None] / 2)
    first = first.astype(np.int64)  # [R, 2]
    last = np.minimum(size, first + sides[:, None].astype(np.float64)).astype(np.int64)
    pixels = np.arange(size)
    is_in = (pixels >= first[..., None]) & (pixels <= last[..., None])  # [R, 2, S]
    is_in = torch.from_numpy(is_in).to(x.device)
    square = (is_in[:, 1, :, None] & is_in[:, 0, None, :])[:, None]  # [R, 1, S, S]
    colour = x.new_tensor(CUTOUT_COLOUR)[:, None, None]
    return torch.where(square, colour, x)


def shuffle_tiles(
    x: torch.Tensor,  # [R, 3, S, S] of any type
    tiles: np.ndarray,  # [R, T] uint8 - which tile lies at each place
    grid: int,
) -> torch.Tensor:
    """Each view with its tiles in another order."""
    side = x.shape[-1] // grid
    used, out = side * grid, x.clone()
    parts = x[..., :used, :used].unflatten(-1, (grid, side)).unflatten(-3, (grid, side))
    parts = parts.transpose(-3, -2).flatten(2, 3)  # [R, 3, T, side, side]
    order = torch.from_numpy(tiles.astype(np.int64)).to(x.device)[:, None, :, None, None]
    parts = parts.gather(2, order.expand_as(parts)).unflatten(2, (grid, grid))
    out[..., :used, :used] = parts.transpose(-3, -2).flatten(-2).flatten(-3, -2)
    return out
