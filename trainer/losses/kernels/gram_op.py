"""Moments of features as an operator: no D x D matrix where B x B will do, one block at a time.

    zc[v] = z[v] - mean[v],    mean[v] = mean_b z[v, b]
    second[0, v] = mean_b zc[v]^2;    second[1 + g, v] = mean_b zc[v] zc[g]
    x[v] = zc[v] / sqrt(second[0, v] + eps)
    squares = sum_v sum_{g != v} |x[v].T @ x[g]|^2 / B^2    entries squared, of D x D

That is all Barlow Twins needs. VICReg has no eps, but x[v] = zc[v], second[1 + g, v] =
mean_b (zc[v] - zc[g])^2, and squares = sum_v |x[v].T @ x[v]|^2 / B^2.

With K[v] = x[v] @ x[v].T, |x[v].T @ x[g]|^2 = <K[v], K[g]>, and its gradient is 2 K[g] @ x[v]: of
few images these are the smaller matrices, and one serves all pairs of its view. They alone are
kept for backward, which makes x again and writes the gradient block by block.
Garrido et al. 2022, 2206.02574, on this duality.
"""

from typing import Any

import torch

from trainer.losses.kernels import gram, gram_cpu
from trainer.losses.kernels.chunks import accumulator, refuse_second, require_triton

Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@torch.library.custom_op("augengine::column_moments", mutates_args=(), device_types="cpu")
def column_moments(
    z: torch.Tensor,  # [V, B, D] - global views first
    num_targets: int,  # G
    eps: float | None,  # None: VICReg's
) -> Found:
    """Mean [V, D], second [1 + G, V, D], squares [] and the matrices for backward."""
    return gram.forward(z, num_targets, eps, gram_cpu)


@torch.library.custom_op("augengine::column_moments_backward", mutates_args=(), device_types="cpu")
def column_moments_backward(
    d_mean: torch.Tensor,  # [V, D] accumulator
    d_second: torch.Tensor,  # [1 + G, V, D] accumulator
    d_squares: torch.Tensor,  # [] accumulator
    z: torch.Tensor,
    mean: torch.Tensor,
    second: torch.Tensor,
    matrices: torch.Tensor,
    eps: float | None,
) -> torch.Tensor:
    """[V, B, D] like z."""
    return gram.backward(d_mean, d_second, d_squares, z, mean, second, matrices, eps, gram_cpu)


@column_moments.register_fake
def _(z: torch.Tensor, num_targets: int, eps: float | None) -> Found:
    todo = gram.plan(z.shape, num_targets, eps is None)
    mean = z.new_empty((z.shape[0], z.shape[2]), dtype=accumulator(z))
    second = mean.new_empty((1 + num_targets, *mean.shape))
    matrices = mean.new_empty(
        (todo.num_matrices, todo.side, todo.side), dtype=gram.operand(z, z.is_cuda)
    )
    return mean, second, mean.new_empty(()), matrices


@column_moments_backward.register_fake
def _(
    d_mean: torch.Tensor, d_second: torch.Tensor, d_squares: torch.Tensor, z: torch.Tensor, *_: Any
) -> torch.Tensor:
    return torch.empty_like(z, memory_format=torch.contiguous_format)


@column_moments.register_kernel("cuda")
def _(z: torch.Tensor, num_targets: int, eps: float | None) -> Found:
    require_triton()
    from trainer.losses.kernels import gram_gpu

    return gram.forward(z, num_targets, eps, gram_gpu)


@column_moments_backward.register_kernel("cuda")
def _(*arguments: Any) -> torch.Tensor:
    require_triton()
    from trainer.losses.kernels import gram_gpu

    return gram.backward(*arguments, on=gram_gpu)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Found) -> None:
    z, _, ctx.eps = inputs
    mean, second, _, matrices = output
    ctx.save_for_backward(z, mean, second, matrices)
    # Else zeros as large as the matrices would be made for the gradient of what has none.
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor, None, None]:
    z, mean, second, matrices = ctx.saved_tensors
    likes = (mean, second, mean.new_empty(()))
    given = [
        torch.zeros_like(like) if grad is None else grad
        for grad, like in zip(grads, likes, strict=False)
    ]
    return column_moments_backward(*given, z, mean, second, matrices, ctx.eps), None, None


column_moments.register_autograd(_backward, setup_context=_keep)
column_moments_backward.register_autograd(refuse_second)
