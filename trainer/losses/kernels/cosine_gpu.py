"""Cosine regression in Triton: a program takes all views of one image, so each row is loaded once.

Forward writes a number an image, backward nothing but the gradient. Both compute the norms: to
write them down and read them again would cost a launch more than it saves.
"""

import torch
import triton.language as tl

from trainer.losses.kernels.chunks import accumulator
from trainer.losses.kernels.launch import (
    TYPES,
    Kernel,
    block_of,
    kernel,
    launch,
    warps_of,
)


def forward(
    predictions: torch.Tensor,  # [V, B, D]
    targets: torch.Tensor,  # [G, B, D]
    eps: float,
) -> torch.Tensor:
    """[] accumulator: the sum of cosines over images and pairs."""
    predictions, targets = predictions.contiguous(), targets.contiguous()
    dtype = accumulator(predictions, targets)
    num_images = predictions.shape[1]
    sums = torch.empty(num_images, dtype=dtype, device=predictions.device)
    compiled = _compiled(cosine_forward, predictions, targets, dtype)
    launch(compiled, (num_images,), predictions, targets, sums, num_images, eps)
    # In two stages and without atomics: the same bits every time.
    return sums.sum()


def backward(
    grad: torch.Tensor,  # [] accumulator
    predictions: torch.Tensor,
    targets: torch.Tensor,
    eps: float,
) -> torch.Tensor:
    """[V, B, D] like predictions."""
    predictions, targets = predictions.contiguous(), targets.contiguous()
    dtype = accumulator(predictions, targets)
    num_images = predictions.shape[1]
    out = torch.empty_like(predictions)
    compiled = _compiled(cosine_backward, predictions, targets, dtype)
    grad = grad.to(dtype)
    launch(compiled, (num_images,), grad, predictions, targets, out, num_images, eps)
    return out


def _compiled(
    function: object, predictions: torch.Tensor, targets: torch.Tensor, dtype: torch.dtype
) -> Kernel:
    dim = predictions.shape[-1]
    constants = {"V": len(predictions), "G": len(targets), "D": dim, "ACC": TYPES[dtype]}
    constants["BLOCK_D"] = block_of(dim)
    return Kernel(function, warps_of(dim), constants)


@kernel
def load_unit(p_row, o_d, m_d, eps, ACC: tl.constexpr):
    """[BLOCK_D] a row scaled to length 1 (0 where it is shorter than eps), and 1 / length."""
    x = tl.load(p_row + o_d, mask=m_d, other=0.0).to(ACC)
    norm = tl.sqrt(tl.sum(x * x, axis=0))
    # NaN is neither above nor below: it must get through.
    inverse = tl.where(norm <= eps, 0.0, 1.0 / tl.where(norm <= eps, 1.0, norm))
    return x * inverse, inverse


@kernel
def sum_targets(p_targets, o_row, o_d, m_d, stride, eps, G: tl.constexpr, ACC: tl.constexpr):
    """[BLOCK_D] the sum of an image's unit targets; `stride` elements lie between two views."""
    total, _ = load_unit(p_targets + o_row, o_d, m_d, eps, ACC)
    for g in range(1, G):
        unit, _ = load_unit(p_targets + o_row + g * stride, o_d, m_d, eps, ACC)
        total += unit
    return total


@kernel
def cosine_forward(
    p_predictions,  # [V, B, D]
    p_targets,  # [G, B, D]
    p_sums,  # [B] ACC
    num_images,  # B
    eps,  # rows up to this length count as 0
    V: tl.constexpr,
    G: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
):
    """Sum of cos(prediction v, target g) over g != v of one image."""
    image = tl.program_id(0).to(tl.int64)
    o_d = tl.arange(0, BLOCK_D)
    m_d = o_d < D
    o_row, stride = image * D, num_images.to(tl.int64) * D
    everyone = sum_targets(p_targets, o_row, o_d, m_d, stride, eps, G, ACC)
    found = tl.full([], 0.0, ACC)
    for v in range(G):
        own, _ = load_unit(p_targets + o_row + v * stride, o_d, m_d, eps, ACC)
        unit, _ = load_unit(p_predictions + o_row + v * stride, o_d, m_d, eps, ACC)
        found += tl.sum(unit * (everyone - own), axis=0)
    for v in range(G, V):
        unit, _ = load_unit(p_predictions + o_row + v * stride, o_d, m_d, eps, ACC)
        found += tl.sum(unit * everyone, axis=0)
    tl.store(p_sums + image, found)


@kernel
def cosine_backward(
    p_grad,  # [] ACC
    p_predictions,  # [V, B, D]
    p_targets,  # [G, B, D]
    p_out,  # [V, B, D]
    num_images,  # B
    eps,
    V: tl.constexpr,
    G: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
):
    """With u = n(p) and t = sum of the other targets: dp = grad / |p| (t - (t u) u)."""
    image = tl.program_id(0).to(tl.int64)
    o_d = tl.arange(0, BLOCK_D)
    m_d = o_d < D
    o_row, stride = image * D, num_images.to(tl.int64) * D
    everyone = sum_targets(p_targets, o_row, o_d, m_d, stride, eps, G, ACC)
    grad = tl.load(p_grad)
    for v in range(G):
        o_view = o_row + v * stride
        own, _ = load_unit(p_targets + o_view, o_d, m_d, eps, ACC)
        turn(p_predictions + o_view, p_out + o_view, everyone - own, grad, o_d, m_d, eps, ACC)
    for v in range(G, V):
        o_view = o_row + v * stride
        turn(p_predictions + o_view, p_out + o_view, everyone, grad, o_d, m_d, eps, ACC)


@kernel
def turn(p_row, p_out, others, grad, o_d, m_d, eps, ACC: tl.constexpr):
    """The gradient of one prediction, orthogonal to it."""
    unit, inverse = load_unit(p_row, o_d, m_d, eps, ACC)
    along = tl.sum(unit * others, axis=0)
    change = (grad * inverse) * (others - along * unit)
    tl.store(p_out + o_d, change.to(p_out.dtype.element_ty), mask=m_d)
