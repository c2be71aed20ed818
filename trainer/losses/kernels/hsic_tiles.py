"""Sums of an inverse multiquadric kernel, a tile of cosines at a time; hsic_gpu.py has the same.

Legend: P views, B rows of each, S keys, D features.
"""

import torch

from trainer.losses.kernels.rows import Rows
from trainer.losses.kernels.tiles import NO_KEY, Side, blocks, pull_by, tiles_of


def inverse_multiquadric(
    cosines: torch.Tensor,  # any shape
    width: float | torch.Tensor,  # c
) -> torch.Tensor:
    """C / sqrt(c^2 + |a - b|^2) of unit rows with this cosine, in (0, 1]."""
    # Rounding takes a cosine beyond 1, and a squared distance below 0.
    return width * (2 - 2 * cosines).clamp_min(0).add(width**2).rsqrt()


def at_right_angles(width: float) -> float:
    """The kernel for a cosine of 0."""
    return width / (width**2 + 2) ** 0.5


def add_up(
    q: Rows,  # [P, B, D]
    k: Rows,  # [S, D]
    width: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """For every row the sums over keys of the kernel less k0, and of its square; [P, B] each."""
    sums, squares = torch.zeros_like(q.scale), torch.zeros_like(q.scale)
    for view, rows in blocks(q):
        for s, _, _ in tiles_of(q, k, 1.0, NO_KEY, view, rows):
            kernel = _kernel(s, width).sub_(at_right_angles(width))
            sums[view, rows] += kernel.sum(dim=1)
            squares[view, rows] += kernel.square_().sum(dim=1)
    return sums, squares


def pull(
    q: Rows,  # [P, B, D]
    k: Rows,  # [S, D]
    width: float,
    of_rows: Side,  # [P, B] each - gradient of sums and of squares
    of_keys: Side,  # [P, S] each
    out: torch.Tensor,  # [P, B, D] accumulator
) -> None:
    """Add to every row the sum of keys, weighed by what both sides ask of the kernel."""

    def weigh(s: torch.Tensor, view: int, rows: slice, columns: slice) -> torch.Tensor:
        of_sums, of_squares = (
            a[view, rows, None] + b[view, columns] for a, b in zip(of_rows, of_keys, strict=True)
        )
        kernel = _kernel(s, width)
        slope = kernel.pow(3).div_(width**2)
        return (
            kernel.sub_(at_right_angles(width)).mul_(of_squares).mul_(2).add_(of_sums).mul_(slope)
        )

    pull_by(weigh, q, k, 1.0, NO_KEY, out)


def _kernel(
    s: torch.Tensor,  # cosines - destroyed
    width: float,
) -> torch.Tensor:
    """Inverse_multiquadric in place."""
    return s.mul_(-2).add_(2).clamp_min_(0).add_(width**2).rsqrt_().mul_(width)
