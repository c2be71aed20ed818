"""Sums of a kernel of unit rows as an operator: what HSIC is made of, without the matrix.

    K[i, j] = c / sqrt(c^2 + |u[i] - u[j]|^2) = c / sqrt(c^2 + 2 - 2 <u[i], u[j]>)
    L = K - k0,  k0 the kernel of rows at right angles
    sums[i] = sum_j L[i, j];  squares[i] = sum_j L[i, j]^2
    d u[i] = sum_j (G[i, j] + G[j, i]) K[i, j]^3 / c^2 u[j],  G[i, j] = d sums[i] + 2 L d squares[i]

A rank sums for its own rows over those of all ranks; as in views_op.py its backward gathers two
numbers a row, and makes each tile once more for both of its sides.
"""

from types import ModuleType
from typing import Any

import torch

from trainer.distributed import gather_rows
from trainer.losses.kernels import hsic_tiles
from trainer.losses.kernels.chunks import accumulator, refuse_second, require_triton
from trainer.losses.kernels.rows import Rows, through_unit, unit
from trainer.losses.kernels.tiles import MAX_KERNEL_DIM


@torch.library.custom_op("augengine::kernel_sums", mutates_args=(), device_types="cpu")
def kernel_sums(
    z: torch.Tensor,  # [R, D] - of this rank
    everyone: torch.Tensor,  # [M, D] - of all ranks, without gradient
    first: int,  # which of the M is this rank's first
    width: float,  # c
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums and squares, [R] accumulator."""
    return forward(hsic_tiles, z, everyone, width, eps)


@torch.library.custom_op("augengine::kernel_sums_backward", mutates_args=(), device_types="cpu")
def kernel_sums_backward(
    z: torch.Tensor,
    everyone: torch.Tensor,
    grad_sums: torch.Tensor,  # [M] accumulator - of all ranks
    grad_squares: torch.Tensor,  # [M]
    first: int,
    width: float,
    eps: float,
) -> torch.Tensor:
    """[R, D] like z."""
    given = (z, everyone, grad_sums, grad_squares)
    return differentiate(hsic_tiles, *given, first, width, eps)


@kernel_sums.register_fake
def _(z: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    sums = z.new_empty(len(z), dtype=accumulator(z))
    return sums, torch.empty_like(sums)


@kernel_sums_backward.register_fake
def _(z: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(z, memory_format=torch.contiguous_format)


@kernel_sums.register_kernel("cuda")
def _(
    z: torch.Tensor, everyone: torch.Tensor, first: int, width: float, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    return forward(_on_cuda(z), z, everyone, width, eps)


@kernel_sums_backward.register_kernel("cuda")
def _(z: torch.Tensor, *others: Any) -> torch.Tensor:
    return differentiate(_on_cuda(z), z, *others)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    z, everyone, *ctx.numbers = inputs
    ctx.save_for_backward(z, everyone)


def _backward(
    ctx: Any, grad_sums: torch.Tensor, grad_squares: torch.Tensor
) -> tuple[torch.Tensor | None, ...]:
    of_all = [gather_rows(x.contiguous()) for x in (grad_sums, grad_squares)]
    return kernel_sums_backward(*ctx.saved_tensors, *of_all, *ctx.numbers), *[None] * 4


kernel_sums.register_autograd(_backward, setup_context=_keep)
kernel_sums_backward.register_autograd(refuse_second)


def _on_cuda(z: torch.Tensor) -> ModuleType:
    if z.shape[-1] > MAX_KERNEL_DIM:
        return hsic_tiles
    require_triton()
    from trainer.losses.kernels import hsic_gpu

    return hsic_gpu


def forward(
    form: ModuleType, z: torch.Tensor, everyone: torch.Tensor, width: float, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward, with the sums of `form`: those of a CPU, or of a GPU."""
    # Autocast would take the products to bf16.
    with torch.autocast(z.device.type, enabled=False):
        sums, squares = form.add_up(_one_view(z, eps), unit(everyone, eps), width)
    return sums[0], squares[0]


def differentiate(
    form: ModuleType,
    z: torch.Tensor,
    everyone: torch.Tensor,
    grad_sums: torch.Tensor,
    grad_squares: torch.Tensor,
    first: int,
    width: float,
    eps: float,
) -> torch.Tensor:
    """Backward, likewise."""
    own = _one_view(z, eps)
    of_all = grad_sums[None], grad_squares[None]
    of_own = tuple(x[:, first : first + len(z)] for x in of_all)
    out = own.scale.new_zeros(own.x.shape)
    with torch.autocast(z.device.type, enabled=False):
        form.pull(own, unit(everyone, eps), width, of_own, of_all, out)
    return through_unit(out, own)[0]


def _one_view(z: torch.Tensor, eps: float) -> Rows:
    return unit(z[None], eps)
