"""Unit rows as rows and 1 / length, which need no copy, and the gradient through the division.

A product of two numbers of a half type is exact in float32; unit rows rounded to that type would
make a score wrong by up to 0.04 at a temperature of 0.1. So lengths are divided by afterwards.
"""

from dataclasses import dataclass

import torch

from trainer.losses.kernels.chunks import accumulator, chunks


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows x * scale."""

    x: torch.Tensor  # [..., D] any float
    scale: torch.Tensor  # [...] accumulator

    def of(self, index: int | slice | tuple[slice, slice]) -> "Rows":
        """Some views, or some rows of one."""
        return Rows(self.x[index], self.scale[index])

    def matrix(self) -> torch.Tensor:
        """[..., D] accumulator."""
        return self.x * self.scale[..., None]


def unit(
    x: torch.Tensor,  # [..., D] any float
    eps: float,  # rows up to this length count as 0
) -> Rows:
    """The same rows with length 1."""
    norms = torch.linalg.vector_norm(x, dim=-1, dtype=accumulator(x))
    # NaN is neither above nor below: it must get through.
    return Rows(x, torch.where(norms <= eps, 0.0, norms.reciprocal()))


def given(
    x: torch.Tensor,  # [..., D] any float
) -> Rows:
    """Rows as they are."""
    return Rows(x, x.new_ones(x.shape[:-1], dtype=accumulator(x)))


def through_unit(
    grad: torch.Tensor,  # [V, B, D] accumulator - of the unit rows; destroyed
    rows: Rows,  # [V, B, D]
) -> torch.Tensor:
    """[V, B, D] like rows.x: the gradient of the rows before their division, orthogonal to them."""
    num_views, num_rows, dim = grad.shape
    out = grad if rows.x.dtype == grad.dtype else torch.empty_like(grad, dtype=rows.x.dtype)
    for part in chunks(num_rows, num_views * dim, grad.device):
        own, change = rows.of((slice(None), part)), grad[:, part]
        u = own.matrix()
        along = (u * change).sum(-1, keepdim=True)
        out[:, part] = change.sub_(u.mul_(along)).mul_(own.scale[..., None])
    return out
