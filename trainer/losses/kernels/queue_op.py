"""Attention to a queue as an operator: its logsumexp and its gradient in one pass.

    lse[q, b]  = logsumexp_m(<queries[q, b], queue[m]> / T)
    mean[q, b] = sum_m softmax_m(<queries[q, b], queue[m]> / T) queue[m]
    d lse / d queries = mean / T

Forward finds both, so backward needs neither scores nor queue: that may move on.
"""

from types import ModuleType
from typing import Any

import torch

from trainer.losses.kernels import tiles
from trainer.losses.kernels.chunks import accumulator, refuse_second
from trainer.losses.kernels.rows import given


@torch.library.custom_op("augengine::attend_queue", mutates_args=(), device_types="cpu")
def attend_queue(
    queries: torch.Tensor,  # [Q, B, D]
    queue: torch.Tensor,  # [M, D]
    temperature: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lse [Q, B] and mean [Q, B, D], in the accumulator."""
    return attend(tiles, queries, queue, temperature)


@torch.library.custom_op("augengine::attend_queue_backward", mutates_args=())
def attend_queue_backward(
    grad: torch.Tensor,  # [Q, B] accumulator
    mean: torch.Tensor,
    like: torch.Tensor,  # [Q, B, D] - the queries
    temperature: float,
) -> torch.Tensor:
    """[Q, B, D] like queries."""
    return differentiate(grad, mean, like, temperature)


@attend_queue.register_fake
def _(queries: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    mean = queries.new_empty(queries.shape, dtype=accumulator(queries))
    return mean.new_empty(mean.shape[:-1]), mean


@attend_queue_backward.register_fake
def _(grad: torch.Tensor, mean: torch.Tensor, like: torch.Tensor, _: float) -> torch.Tensor:
    return torch.empty_like(like, memory_format=torch.contiguous_format)


@attend_queue.register_kernel("cuda")
def _(
    queries: torch.Tensor, queue: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    return attend(tiles.on_cuda(queries.shape[-1]), queries, queue, temperature)


def attend(
    form: ModuleType, queries: torch.Tensor, queue: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward, with the sums of `form`: those of a CPU, or of a GPU."""
    # Autocast would take the products to bf16: at T = 0.07 wrong by up to 0.06.
    with torch.autocast(queries.device.type, enabled=False):
        return form.attend(given(queries), given(queue), 1 / temperature, with_mean=True)


def differentiate(
    grad: torch.Tensor, mean: torch.Tensor, like: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Backward, on any device."""
    return (mean * (grad / temperature)[..., None]).to(like.dtype)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    ctx.save_for_backward(output[1], inputs[0])
    ctx.temperature = inputs[2]


def _backward(ctx: Any, grad: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
    return attend_queue_backward(grad, *ctx.saved_tensors, ctx.temperature), None, None


attend_queue.register_autograd(_backward, setup_context=_keep)
attend_queue_backward.register_autograd(refuse_second)
