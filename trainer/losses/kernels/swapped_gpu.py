"""Swapped prediction in Triton: a program takes all views of one image, over a part of K.

Forward streams scores and codes once and writes five numbers for each view, image and part of K; a
second launch joins the parts, a third adds up the images. Backward goes over scores and codes a
second time and writes the gradient. Parts are so many that small batches fill a GPU, too.
"""

from typing import Any

import torch
import triton.language as tl

from trainer.losses.kernels.chunks import accumulator
from trainer.losses.kernels.launch import TYPES, Kernel, block_of, kernel, launch, warps_of

TILE = 4096  # elements of a program's tile of views x prototypes
PROGRAMS = 1024  # that a forward has at least, where K allows: a few for each multiprocessor
PER_PART = 4  # tiles of a part at least
JOIN = 128
ADD_UP = 1024
NUM_STATISTICS = 5  # peak, sum of exponentials, sum of w x, sum of w, entropy


def forward(
    scores: torch.Tensor,  # [V, B, K]
    logits: torch.Tensor,  # [A, B, K]
    prototypes: torch.Tensor,  # [A, K] accumulator
    samples: torch.Tensor,  # [A, B] accumulator
    scale: float,
    temperature: float,
    weight: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss [], entropy [] and lse [V, B], in the accumulator."""
    given = [x.contiguous() for x in (scores, logits, prototypes, samples)]
    num_views, num_images, dim = scores.shape
    dtype, num_rows = accumulator(scores), num_views * num_images
    constants = _constants(scores, logits)
    part = _part(num_images, dim, constants["BLOCK_K"])
    num_parts = -(-dim // part)
    parts = scores.new_empty((NUM_STATISTICS, num_parts, num_rows), dtype=dtype)
    compiled = Kernel(predict, warps_of(TILE), constants | {"PART": part})
    launch(compiled, (num_images, num_parts), *given, parts, num_images, scale, 1 / temperature)
    rows = scores.new_empty((2, num_rows), dtype=dtype)
    lse = scores.new_empty((num_views, num_images), dtype=dtype)
    joining = Kernel(join_parts, 1, {"PARTS": num_parts, "BLOCK": JOIN, "ACC": TYPES[dtype]})
    launch(joining, (-(-num_rows // JOIN),), parts, lse, rows, num_rows)
    loss, entropy = (scores.new_empty((), dtype=dtype) for _ in range(2))
    adding = Kernel(add_up, 4, {"BLOCK": ADD_UP, "ACC": TYPES[dtype]})
    launch(adding, (1,), rows, loss, entropy, num_rows, weight, 1 / samples.numel())
    return loss, entropy, lse


def backward(
    grad: torch.Tensor,  # [] accumulator
    scores: torch.Tensor,
    logits: torch.Tensor,
    prototypes: torch.Tensor,
    samples: torch.Tensor,
    lse: torch.Tensor,  # [V, B] accumulator
    scale: float,
    temperature: float,
    weight: float,
) -> torch.Tensor:
    """[V, B, K] like scores."""
    given = [x.contiguous() for x in (grad, scores, logits, prototypes, samples, lse)]
    _, num_images, dim = scores.shape
    out = torch.empty_like(given[1])
    constants = _constants(scores, logits)
    compiled = Kernel(differentiate, warps_of(TILE), constants)
    grid = (num_images, -(-dim // constants["BLOCK_K"]))
    numbers = (num_images, scale, 1 / temperature, weight / temperature)
    launch(compiled, grid, *given, out, *numbers)
    return out


def _constants(scores: torch.Tensor, logits: torch.Tensor) -> dict[str, Any]:
    num_views, _, dim = scores.shape
    block = block_of(num_views)
    sizes = {"V": num_views, "A": len(logits), "K": dim, "BLOCK_V": block}
    sizes["BLOCK_K"] = block_of(dim, max(1, TILE // block))
    return sizes | {"ACC": TYPES[accumulator(scores)]}


def _part(num_images: int, dim: int, block: int) -> int:
    """Elements of K for a program: a power of two of blocks, so that few sizes are compiled."""
    blocks = block_of(-(-dim // block))
    while blocks > PER_PART and num_images * -(-dim // (blocks * block)) < PROGRAMS:
        blocks //= 2
    return blocks * block


@kernel
def load_tile(
    p_scores,  # of this image
    p_logits,  # of this image
    p_prototypes,
    samples,  # [BLOCK_V] ACC
    stride,  # elements between two views
    start,
    scale,
    coldness,  # 1 / temperature
    V: tl.constexpr,
    A: tl.constexpr,
    K: tl.constexpr,
    BLOCK_K: tl.constexpr,
    ACC: tl.constexpr,
):
    """[BLOCK_V, BLOCK_K] x, log q and q (0 beyond the views with codes), and where they lie."""
    o_v, o_k = tl.arange(0, samples.shape[0]), start + tl.arange(0, BLOCK_K)
    m_k = (o_k < K)[None, :]
    at = (o_v * stride)[:, None] + o_k[None, :]
    x = tl.load(p_scores + at, mask=(o_v < V)[:, None] & m_k, other=0.0).to(ACC)
    m_q = (o_v < A)[:, None] & m_k
    log_q = tl.load(p_logits + at, mask=m_q, other=0.0).to(ACC) * scale
    log_q += tl.load(p_prototypes + o_v[:, None] * K + o_k[None, :], mask=m_q, other=0.0)
    log_q += samples[:, None]
    # An exponential of what is not there could be infinite.
    log_q = tl.where(m_q, log_q, 0.0)
    return x * coldness, log_q, tl.where(m_q, tl.exp(log_q), 0.0), at, m_k


@kernel
def predict(
    p_scores,  # [V, B, K]
    p_logits,  # [A, B, K]
    p_prototypes,  # [A, K] ACC
    p_samples,  # [A, B] ACC
    p_parts,  # [5, P, V, B] ACC
    num_images,  # B
    scale,
    coldness,  # 1 / temperature
    V: tl.constexpr,
    A: tl.constexpr,
    K: tl.constexpr,
    PART: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    ACC: tl.constexpr,
):
    """Peak, sum exp(x - peak), sum w (x - peak), sum w and -sum q log q over a part of K."""
    image, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    o_v = tl.arange(0, BLOCK_V)
    stride, first = num_images.to(tl.int64) * K, part * PART
    p_scores += image * K
    p_logits += image * K
    samples = tl.load(p_samples + o_v * num_images + image, mask=o_v < A, other=0.0)
    peak = tl.full([BLOCK_V], float("-inf"), ACC)
    total, along = tl.zeros([BLOCK_V], ACC), tl.zeros([BLOCK_V], ACC)
    mass, entropy = tl.zeros([BLOCK_V], ACC), tl.zeros([BLOCK_V], ACC)
    for start in range(0, PART, BLOCK_K):
        x, log_q, q, _, m_k = load_tile(
            p_scores,
            p_logits,
            p_prototypes,
            samples,
            stride,
            first + start,
            scale,
            coldness,
            V,
            A,
            K,
            BLOCK_K,
            ACC,
        )
        entropy -= tl.sum(q * log_q, axis=1)
        w = tl.sum(q, axis=0)[None, :] - q
        higher = tl.maximum(peak, tl.max(tl.where(m_k, x, float("-inf")), axis=1))
        # A tile beyond K has no peak, and neither has what was seen before the first.
        shift = tl.where(higher > float("-inf"), higher, 0.0)
        moved = tl.where(peak > float("-inf"), peak - shift, 0.0)
        x = tl.where(m_k, x - shift[:, None], 0.0)
        total = total * tl.exp(moved) + tl.sum(tl.where(m_k, tl.exp(x), 0.0), axis=1)
        along += mass * moved + tl.sum(w * x, axis=1)
        mass += tl.sum(w, axis=1)
        peak = higher
    step = tl.num_programs(1) * num_images.to(tl.int64) * V
    p_out = p_parts + (part * V + o_v) * num_images.to(tl.int64) + image
    tl.store(p_out, peak, mask=o_v < V)
    tl.store(p_out + step, total, mask=o_v < V)
    tl.store(p_out + 2 * step, along, mask=o_v < V)
    tl.store(p_out + 3 * step, mass, mask=o_v < V)
    tl.store(p_out + 4 * step, entropy, mask=o_v < V)


@kernel
def join_parts(
    p_parts,  # [5, P, N] ACC
    p_lse,  # [N] ACC
    p_rows,  # [2, N] ACC - loss and entropy
    num_rows,  # N = V B
    PARTS: tl.constexpr,  # P
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    """Join what was found over parts of K, in their order."""
    o_n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_n = o_n < num_rows
    step = num_rows.to(tl.int64) * PARTS
    peak = tl.full([BLOCK], float("-inf"), ACC)
    total, along = tl.zeros([BLOCK], ACC), tl.zeros([BLOCK], ACC)
    mass, entropy = tl.zeros([BLOCK], ACC), tl.zeros([BLOCK], ACC)
    for part in range(PARTS):
        p_own = p_parts + part * num_rows.to(tl.int64) + o_n
        own = tl.load(p_own, mask=m_n, other=0.0)
        higher = tl.maximum(peak, own)
        moved = tl.where(peak > float("-inf"), peak - higher, 0.0)
        own_total = tl.load(p_own + step, mask=m_n, other=1.0)
        own_mass = tl.load(p_own + 3 * step, mask=m_n, other=0.0)
        total = total * tl.exp(moved) + own_total * tl.exp(own - higher)
        along += mass * moved + tl.load(p_own + 2 * step, mask=m_n, other=0.0)
        along += own_mass * (own - higher)
        mass += own_mass
        entropy += tl.load(p_own + 4 * step, mask=m_n, other=0.0)
        peak = higher
    above = tl.log(total)
    tl.store(p_lse + o_n, peak + above, mask=m_n)
    # Not from lse: it and the scores cancel where all are large.
    tl.store(p_rows + o_n, mass * above - along, mask=m_n)
    tl.store(p_rows + num_rows + o_n, entropy, mask=m_n)


@kernel
def add_up(
    p_rows,  # [2, N] ACC
    p_loss,  # [] ACC
    p_entropy,  # [] ACC
    num_rows,  # N
    weight,
    entropy_weight,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    """Both sums over all rows; one program, so always in one order."""
    loss, entropy = tl.zeros([BLOCK], ACC), tl.zeros([BLOCK], ACC)
    start = tl.full([], 0, tl.int32)
    while start < num_rows:
        o_n = start + tl.arange(0, BLOCK)
        loss += tl.load(p_rows + o_n, mask=o_n < num_rows, other=0.0)
        entropy += tl.load(p_rows + num_rows + o_n, mask=o_n < num_rows, other=0.0)
        start += BLOCK
    tl.store(p_loss, tl.sum(loss, axis=0) * weight)
    tl.store(p_entropy, tl.sum(entropy, axis=0) * entropy_weight)


@kernel
def differentiate(
    p_grad,  # [] ACC
    p_scores,  # [V, B, K]
    p_logits,  # [A, B, K]
    p_prototypes,  # [A, K] ACC
    p_samples,  # [A, B] ACC
    p_lse,  # [V, B] ACC
    p_out,  # [V, B, K]
    num_images,  # B
    scale,
    coldness,  # 1 / temperature
    factor,
    V: tl.constexpr,
    A: tl.constexpr,
    K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    ACC: tl.constexpr,
):
    """The gradient on one tile: n softmax(x) - w, with n the codes that a view meets."""
    image = tl.program_id(0).to(tl.int64)
    o_v = tl.arange(0, BLOCK_V)
    stride, start = num_images.to(tl.int64) * K, tl.program_id(1) * BLOCK_K
    p_scores += image * K
    p_logits += image * K
    p_out += image * K
    samples = tl.load(p_samples + o_v * num_images + image, mask=o_v < A, other=0.0)
    lse = tl.load(p_lse + o_v * num_images + image, mask=o_v < V, other=0.0)
    x, _, q, at, m_k = load_tile(
        p_scores,
        p_logits,
        p_prototypes,
        samples,
        stride,
        start,
        scale,
        coldness,
        V,
        A,
        K,
        BLOCK_K,
        ACC,
    )
    w = tl.sum(q, axis=0)[None, :] - q
    # Rows of q sum to 1, so a view's w sums to the number of codes it meets.
    n = tl.where(o_v < A, A - 1, A).to(ACC)
    change = (n[:, None] * tl.exp(x - lse[:, None]) - w) * (tl.load(p_grad) * factor)
    m = (o_v < V)[:, None] & m_k
    tl.store(p_out + at, change.to(p_out.dtype.element_ty), mask=m)
