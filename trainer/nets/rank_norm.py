"""Batch statistics over views and ranks by torch's CUDA kernels: 16 bytes an element, not 140.

`ViewBatchNorm` calls `rank_norm` on CUDA where ranks share statistics. The kernels are those of
torch.nn.SyncBatchNorm; the function around them is ours, because torch's drops ranks without rows
by a mask, whose size the host waits for in every layer, and because it knows no views: here a layer
gathers the statistics of all its views at once, and each view is normalised into its place. Ranks
always have as many rows as each other. On the CPU torch has no such kernels (batchnorm.py).

Legend: V views, N rows of one, C channels, W ranks.
"""

from typing import Any

import torch

from trainer.distributed import all_reduce_, gather_stacked


def rank_norm(
    x: torch.Tensor,  # [V * N, C, ...] any float - the views one after the other
    weight: torch.Tensor | None,  # [C]
    bias: torch.Tensor | None,  # [C]
    running_mean: torch.Tensor | None,  # [C] - moved in place, once a view
    running_var: torch.Tensor | None,  # [C] - likewise
    *,
    momentum: float,
    eps: float,
    num_views: int = 1,
    num_ranks: int | None = None,  # neighbours that share; None: all
) -> torch.Tensor:
    """Batch norm of each view with the mean and variance of its rows on all ranks, as x."""
    running = (running_mean, running_var, momentum)
    return _RankNorm.apply(x, weight, bias, running, eps, num_views, num_ranks)


class _RankNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        running: tuple[torch.Tensor | None, torch.Tensor | None, float],
        eps: float,
        num_views: int,
        num_ranks: int | None,
    ) -> torch.Tensor:
        layout = _layout(x)
        x = x.contiguous(memory_format=layout)
        views = x.chunk(num_views)
        own = torch.stack([torch.stack(torch.batch_norm_stats(view, eps)) for view in views])
        everyone = gather_stacked(own, num_ranks)  # [W, V, 2, C] - means and 1 / std
        counts = own.new_full((len(everyone),), views[0].numel() // x.shape[1])
        out, found = torch.empty_like(x, memory_format=layout), []
        for number, (view, place) in enumerate(zip(views, out.chunk(num_views), strict=True)):
            mean, inverse = torch.batch_norm_gather_stats_with_counts(
                view, everyone[:, number, 0], everyone[:, number, 1], *running, eps, counts
            )
            torch.batch_norm_elemt(view, weight, bias, mean, inverse, eps, out=place)
            found += [mean, inverse]
        ctx.save_for_backward(x, weight, counts.to(torch.int32), *found)
        ctx.layout, ctx.num_views, ctx.num_ranks = layout, num_views, num_ranks
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, counts, *found = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        views = x.chunk(ctx.num_views)
        slopes = grads[0].contiguous(memory_format=ctx.layout).chunk(ctx.num_views)
        pairs = list(zip(found[::2], found[1::2], strict=True))
        reduced = [
            torch.batch_norm_backward_reduce(
                slope, view, *pair, weight, needs_x, needs_weight, needs_bias
            )
            for slope, view, pair in zip(slopes, views, pairs, strict=True)
        ]
        grad_x = None
        if needs_x:
            # Of all views in one exchange; those of weight and bias are DDP's to exchange.
            sums = torch.stack([torch.stack(each[:2]) for each in reduced])  # [V, 2, C]
            all_reduce_(sums, num_ranks=ctx.num_ranks)
            parts = [
                torch.batch_norm_backward_elemt(
                    slope, view, pair[0], pair[1], weight, of_view[0], of_view[1], counts
                )
                for slope, view, pair, of_view in zip(slopes, views, pairs, sums, strict=True)
            ]
            grad_x = parts[0] if len(parts) == 1 else torch.cat(parts)
        grad_weight = _total([each[2] for each in reduced]) if needs_weight else None
        grad_bias = _total([each[3] for each in reduced]) if needs_bias else None
        return grad_x, grad_weight, grad_bias, None, None, None, None


def _layout(x: torch.Tensor) -> torch.memory_format:
    """Channels last where the rows lie so, which the kernels take; else rows one after another."""
    is_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


def _total(values: list[torch.Tensor]) -> torch.Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).sum(0)
