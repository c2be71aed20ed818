"""Scores of queries and other views' keys as an operator: sums over other images.

    s[i, b, j, c] = <q[i, b], k[j, c]> / T          unit rows
    negatives[i, j, b] = logsumexp over c != b of s[i, b, j, c],   i != j
    d q[i, b] = 1/T sum_{j, c} H[i, b, j, c] k[j, c]
    d k[j, c] = 1/T sum_{i, b} H[i, b, j, c] q[i, b]
    H[i, b, j, c] = d negatives[i, j, b] exp(s[i, b, j, c] - negatives[i, j, b])

A rank's queries ask the keys of all ranks. Where keys have a gradient, its backward gathers the
queries that asked them, in place of summing gradients of keys over the ranks.
"""

from types import ModuleType
from typing import Any

import torch

from trainer.distributed import gather_last, gather_views
from trainer.losses.kernels import tiles
from trainer.losses.kernels.chunks import accumulator, refuse_second
from trainer.losses.kernels.rows import given


@torch.library.custom_op("augengine::key_scores", mutates_args=(), device_types="cpu")
def key_scores(
    q: torch.Tensor,  # [Q, B, D] - of this rank
    k: torch.Tensor,  # [K, B, D] - of this rank
    everyone: torch.Tensor,  # [K, N, D] - keys of all ranks, without gradient
    first: int,  # which of the N is this rank's first
    temperature: float,
) -> torch.Tensor:
    """Negatives [Q, K, B] accumulator; the lowest number where both are of one view."""
    return forward(tiles, q, everyone, first, temperature)


@torch.library.custom_op("augengine::key_scores_backward", mutates_args=(), device_types="cpu")
def key_scores_backward(
    own: torch.Tensor,  # [P, B, D] - queries of this rank, or keys
    others: torch.Tensor,  # [S, N, D] - keys of all ranks, or queries
    negatives: torch.Tensor,  # [P, S, B] of own queries, or [P, S, N] of the others
    grad: torch.Tensor,  # the same shape
    is_asking: bool,  # whether `own` are the queries
    first: int,
    temperature: float,
) -> torch.Tensor:
    """[P, B, D] like own."""
    return differentiate(tiles, own, others, negatives, grad, is_asking, first, temperature)


@key_scores.register_fake
def _(q: torch.Tensor, k: torch.Tensor, *_: Any) -> torch.Tensor:
    return q.new_empty((len(q), len(k), q.shape[1]), dtype=accumulator(q))


@key_scores_backward.register_fake
def _(own: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(own, memory_format=torch.contiguous_format)


@key_scores.register_kernel("cuda")
def _(q: torch.Tensor, k: torch.Tensor, *others: Any) -> torch.Tensor:
    return forward(tiles.on_cuda(q.shape[-1]), q, *others)


@key_scores_backward.register_kernel("cuda")
def _(own: torch.Tensor, *others: Any) -> torch.Tensor:
    return differentiate(tiles.on_cuda(own.shape[-1]), own, *others)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    *tensors, ctx.first, ctx.temperature = inputs
    ctx.save_for_backward(*tensors, output)


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    q, k, everyone, negatives = ctx.saved_tensors
    numbers, of_q, of_k = (ctx.first, ctx.temperature), None, None
    if ctx.needs_input_grad[0]:
        of_q = key_scores_backward(q, everyone, negatives, grad, True, *numbers)
    if ctx.needs_input_grad[1]:
        of_all = [gather_last(x).transpose(0, 1) for x in (negatives, grad)]
        of_k = key_scores_backward(k, gather_views(q.detach()), *of_all, False, *numbers)
    return of_q, of_k, None, None, None


key_scores.register_autograd(_backward, setup_context=_keep)
key_scores_backward.register_autograd(refuse_second)


def _without(view: int, num_views: int) -> list[slice]:
    """All views but one."""
    parts = (slice(0, min(view, num_views)), slice(view + 1, num_views))
    return [part for part in parts if part.start < part.stop]


def forward(
    form: ModuleType, q: torch.Tensor, everyone: torch.Tensor, first: int, temperature: float
) -> torch.Tensor:
    """Forward, with the sums of `form`: those of a CPU, or of a GPU."""
    queries, keys = given(q), given(everyone)
    shape, lowest = (len(q), len(everyone), q.shape[1]), torch.finfo(queries.scale.dtype).min
    negatives = queries.scale.new_full(shape, lowest)
    # Autocast would take the products to bf16.
    with torch.autocast(q.device.type, enabled=False):
        for j in range(len(everyone)):
            for part in _without(j, len(q)):
                found = form.attend(queries.of(part), keys.of(j), 1 / temperature, first)
                negatives[part, j] = found[0]
    return negatives


def differentiate(
    form: ModuleType,
    own: torch.Tensor,
    others: torch.Tensor,
    negatives: torch.Tensor,
    grad: torch.Tensor,
    is_asking: bool,
    first: int,
    temperature: float,
) -> torch.Tensor:
    """Backward, likewise."""
    rows, keys = given(own), given(others)
    # Without gradient no exponential, which could be infinite.
    shift = torch.where(grad == 0, torch.inf, negatives)
    out = rows.scale.new_zeros(own.shape)
    with torch.autocast(own.device.type, enabled=False):
        for j in range(len(others)):
            for part in _without(j, len(own)):
                side = shift[part, j], grad[part, j]
                sides = (side, None) if is_asking else (None, side)
                form.pull(rows.of(part), keys.of(j), 1 / temperature, first, *sides, out[part])
    return out.div_(temperature).to(own.dtype)
