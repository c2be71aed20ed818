"""Cosine regression as an operator: memory of the gradient alone, beside the inputs.

    sum_b sum_{v, g != v} cos(predictions[v, b], targets[g, b])

The targets get no gradient. This file is the pattern of the other operators: forward and backward
are one operator each, so that torch.compile sees both; a CPU runs them over chunks of images.
"""

from typing import Any

import torch

from trainer.losses.kernels.chunks import accumulator, chunks, refuse_second, require_triton

MAX_DIM = 8192  # a row is one tile


@torch.library.custom_op("augengine::cosine_sum", mutates_args=(), device_types="cpu")
def cosine_sum(
    predictions: torch.Tensor,  # [V, B, D]
    targets: torch.Tensor,  # [G, B, D]
    eps: float,
) -> torch.Tensor:
    """[] accumulator: sum of cosines over images and pairs."""
    sums = predictions.new_empty(predictions.shape[1], dtype=accumulator(predictions, targets))
    for rows in _chunks(predictions):
        unit, others, _ = _chunk(predictions[:, rows], targets[:, rows], eps, sums.dtype)
        torch.sum(unit.mul_(others), dim=(0, 2), out=sums[rows])
    return sums.sum()


@torch.library.custom_op("augengine::cosine_sum_backward", mutates_args=(), device_types="cpu")
def cosine_sum_backward(
    grad: torch.Tensor,  # [] accumulator
    predictions: torch.Tensor,
    targets: torch.Tensor,
    eps: float,
) -> torch.Tensor:
    """[V, B, D] like predictions: grad / |p| (t - (t u) u) with u = n(p), t the other targets."""
    out = torch.empty_like(predictions, memory_format=torch.contiguous_format)
    dtype = accumulator(predictions, targets)
    for rows in _chunks(predictions):
        unit, others, inverse = _chunk(predictions[:, rows], targets[:, rows], eps, dtype)
        along = (unit * others).sum(-1, keepdim=True)
        out[:, rows] = others.sub_(unit.mul_(along)).mul_(inverse * grad)
    return out


@cosine_sum.register_fake
def _(predictions: torch.Tensor, targets: torch.Tensor, eps: float) -> torch.Tensor:
    return predictions.new_empty((), dtype=accumulator(predictions, targets))


@cosine_sum_backward.register_fake
def _(
    grad: torch.Tensor, predictions: torch.Tensor, targets: torch.Tensor, eps: float
) -> torch.Tensor:
    return torch.empty_like(predictions, memory_format=torch.contiguous_format)


@cosine_sum.register_kernel("cuda")
def _(predictions: torch.Tensor, targets: torch.Tensor, eps: float) -> torch.Tensor:
    require_triton()
    from trainer.losses.kernels import cosine_gpu

    return cosine_gpu.forward(predictions, targets, eps)


@cosine_sum_backward.register_kernel("cuda")
def _(
    grad: torch.Tensor, predictions: torch.Tensor, targets: torch.Tensor, eps: float
) -> torch.Tensor:
    require_triton()
    from trainer.losses.kernels import cosine_gpu

    return cosine_gpu.backward(grad, predictions, targets, eps)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    predictions, targets, ctx.eps = inputs
    ctx.save_for_backward(predictions, targets)


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    predictions, targets = ctx.saved_tensors
    return cosine_sum_backward(grad, predictions, targets, ctx.eps), None, None


cosine_sum.register_autograd(_backward, setup_context=_keep)
cosine_sum_backward.register_autograd(refuse_second)


def _chunks(predictions: torch.Tensor) -> Any:
    num_views, num_images, dim = predictions.shape
    return chunks(num_images, num_views * dim)


def _chunk(
    predictions: torch.Tensor,  # [V, C, D]
    targets: torch.Tensor,  # [G, C, D]
    eps: float,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit predictions, the sum of the targets each meets, and 1 / lengths."""
    (p, inverse), (z, _) = (_unit(x.to(dtype), eps) for x in (predictions, targets))
    others = z.sum(0).expand_as(p).clone()
    others[: len(z)] -= z
    return p, others, inverse


def _unit(x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse = torch.where(norms <= eps, 0.0, norms.reciprocal())
    return x * inverse, inverse
