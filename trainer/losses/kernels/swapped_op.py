"""Swapped prediction as an operator: codes and log-softmaxes are made again, never kept.

    q[a, b, k] = exp(scale logits[a, b, k] + prototypes[a, k] + samples[a, b])
    w[v, b, k] = sum_{a != v} q[a, b, k]
    loss    = weight sum_{v, b} sum_k w[v, b, k] (lse[v, b] - x[v, b, k])    with x = scores / T
    entropy = -1 / (A B) sum_{a, b, k} q log q
    d loss / d x[v, b] = weight (sum_k(w[v, b, k]) softmax(x[v, b]) - w[v, b])

Each log-softmax is taken once for all codes it meets; only its logsumexp is kept, V x B numbers.
"""

from typing import Any

import torch

from trainer.losses.kernels.chunks import accumulator, chunks, refuse_second, require_triton


@torch.library.custom_op("augengine::swapped_prediction", mutates_args=(), device_types="cpu")
def swapped_prediction(
    scores: torch.Tensor,  # [V, B, K]
    logits: torch.Tensor,  # [A, B, K]
    prototypes: torch.Tensor,  # [A, K] accumulator
    samples: torch.Tensor,  # [A, B] accumulator
    scale: float,
    temperature: float,
    weight: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss [], entropy [] and lse [V, B], in the accumulator."""
    lse = scores.new_empty(scores.shape[:2], dtype=accumulator(scores))
    loss, entropy = lse.new_zeros(()), lse.new_zeros(())
    for rows in chunks(scores.shape[1], len(scores) * scores.shape[2]):
        log_q = _log_codes(logits[:, rows], prototypes, samples[:, rows], scale)
        q = log_q.exp()
        entropy -= log_q.mul_(q).sum()
        x = scores[:, rows].to(lse.dtype) / temperature
        peak = x.amax(dim=-1, keepdim=True)
        # From the peak on: loss and logsumexp would cancel where all scores are large.
        x -= peak
        above = x.exp().sum(dim=-1).log_()
        lse[:, rows] = above + peak.squeeze(-1)
        loss += (_totals(q, len(x)) * above).sum()
        loss -= (q.sum(0) * x.sum(0)).sum() - (q.mul_(x[: len(q)])).sum()
    return loss.mul_(weight), entropy.div_(samples.numel()), lse


@torch.library.custom_op(
    "augengine::swapped_prediction_backward", mutates_args=(), device_types="cpu"
)
def swapped_prediction_backward(
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
    out = torch.empty_like(scores, memory_format=torch.contiguous_format)
    num_views, num_images, dim = scores.shape
    factor = grad * (weight / temperature)
    # Rows of q sum to 1, so w of a view sums to the number of codes it meets.
    meets = lse.new_full((num_views, 1, 1), len(logits))
    meets[: len(logits)] -= 1
    for rows in chunks(num_images, num_views * dim):
        # One image's scores of 65,536 prototypes are more than a chunk.
        for part in chunks(dim, num_views * (rows.stop - rows.start)):
            found = logits[:, rows, part], prototypes[:, part], samples[:, rows]
            q = _log_codes(*found, scale).exp_()
            x = scores[:, rows, part].to(lse.dtype) / temperature
            x.sub_(lse[:, rows, None]).exp_().mul_(meets)
            x -= q.sum(0)
            x[: len(q)] += q
            out[:, rows, part] = x.mul_(factor)
    return out


@swapped_prediction.register_fake
def _(
    scores: torch.Tensor, logits: torch.Tensor, prototypes: torch.Tensor, *_: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    lse = scores.new_empty(scores.shape[:2], dtype=accumulator(scores))
    return lse.new_empty(()), lse.new_empty(()), lse


@swapped_prediction_backward.register_fake
def _(grad: torch.Tensor, scores: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(scores, memory_format=torch.contiguous_format)


@swapped_prediction.register_kernel("cuda")
def _(
    *arguments: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    require_triton()
    from trainer.losses.kernels import swapped_gpu

    return swapped_gpu.forward(*arguments)


@swapped_prediction_backward.register_kernel("cuda")
def _(*arguments: Any) -> torch.Tensor:
    require_triton()
    from trainer.losses.kernels import swapped_gpu

    return swapped_gpu.backward(*arguments)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:4], output[2])
    # No zeros for entropy and lse, which have no gradient.
    ctx.set_materialize_grads(False)
    ctx.numbers = inputs[4:]


def _backward(ctx: Any, grad: torch.Tensor | None, *_: Any) -> tuple[torch.Tensor | None, ...]:
    found = None
    if grad is not None:
        found = swapped_prediction_backward(grad, *ctx.saved_tensors, *ctx.numbers)
    return found, *[None] * 6


swapped_prediction.register_autograd(_backward, setup_context=_keep)
swapped_prediction_backward.register_autograd(refuse_second)


def _log_codes(
    logits: torch.Tensor,  # [A, C, K]
    prototypes: torch.Tensor,  # [A, K]
    samples: torch.Tensor,  # [A, C]
    scale: float,
) -> torch.Tensor:
    return (logits.to(samples.dtype) * scale).add_(prototypes[:, None]).add_(samples[..., None])


def _totals(
    q: torch.Tensor,  # [A, C, K]
    num_views: int,
) -> torch.Tensor:
    """[V, C]: the sum of w over k, about A or A - 1."""
    own = q.sum(dim=-1)
    totals = own.sum(0).expand(num_views, -1).clone()
    totals[: len(own)] -= own
    return totals
