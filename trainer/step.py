"""One optimizer step: one forward and backward, or several of a part of the batch each.

`train.py` calls `optimizer_step`. With loop.accumulate=k the loader gives a k-th of the batch at a
time; gradients add up to the mean over the parts, and ranks exchange them once, after the last.
For a loss that is a mean over images this is the gradient of the whole batch, up to what is taken
over a forward's images on purpose: batch norm's statistics. A loss that compares the images of a
batch with each other would be another loss; accumulate.py refuses it (`Method.batch_loss`).
"""

# pyright: reportPrivateImportUsage=false

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from augengine.views import Views
from trainer.build import Parts
from trainer.config import LoopConfig
from trainer.distributed import rank, world_size
from trainer.methods.protocol import Progress, StepResult
from trainer.setup.device import use_bf16

_CLIP_EPS = 1e-6  # torch's


def optimizer_step(
    model: nn.Module,  # the method, or DDP around it
    parts: Parts,
    batches: Iterator[Views],
    progress: Progress,
) -> StepResult:
    """Take loop.accumulate batches; the gradients of their losses add up to the mean's."""
    loop, method = parts.config.loop, parts.method
    looks_only = method.looks_only(progress)
    parts.optimizer.zero_grad(set_to_none=True)
    results = []
    for part in range(loop.accumulate):
        with _exchange(model, now=part == loop.accumulate - 1):
            views = next(batches)
            origins = (views.origin,)
            result = forward(model, parts, views, replace(progress, part=part))
            del views  # the graph keeps what it needs of them
            if not looks_only:
                (result.loss / loop.accumulate).backward()
        results.append(replace(result, loss=result.loss.detach(), origins=origins))
    if not looks_only:
        method.before_optimizer(progress)
        clip_gradients(method, loop)
        parts.optimizer.step()
        method.after_step(progress)
    return results[0] if len(results) == 1 else _mean(results)


def _exchange(model: nn.Module, *, now: bool) -> AbstractContextManager[None]:
    """Whether ranks exchange gradients in the backward of the body."""
    if now or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return model.no_sync()


def clip_gradients(method: nn.Module, loop: LoopConfig) -> None:
    """Scale gradients down to loop.clip_norm: all together, or every tensor's own."""
    if loop.clip_norm is None:
        return
    if loop.clip_each:
        clip_each([p.grad for p in method.parameters() if p.grad is not None], loop.clip_norm)
    else:
        nn.utils.clip_grad_norm_(method.parameters(), loop.clip_norm)


@torch.no_grad()
def clip_each(gradients: list[torch.Tensor], norm: float) -> None:
    """As nn.utils.clip_grad_norm_ of each alone, in seven calls for all of them."""
    if not gradients:
        return
    factors = torch.stack(list(torch._foreach_norm(gradients)))
    factors = (norm / (factors + _CLIP_EPS)).clamp(max=1.0)
    torch._foreach_mul_(gradients, list(factors.unbind()))


def forward(model: nn.Module, parts: Parts, views: Views, progress: Progress) -> StepResult:
    """The loss of one part of a step, in the precision of the run.

    A method's own draws depend on (seed, step, rank) alone: those of a step begin with its part 0.
    """
    if progress.part == 0:
        seed = parts.config.loop.seed << 31
        torch.manual_seed(seed + progress.step * world_size() + rank())
    bf16 = use_bf16(parts.config, parts.device)
    with (
        torch.set_grad_enabled(not parts.method.looks_only(progress)),
        torch.autocast(parts.device.type, dtype=torch.bfloat16, enabled=bf16),
    ):
        return model(views, progress)


def _mean(results: Sequence[StepResult]) -> StepResult:
    """Of the losses and the metrics; embeddings and origins are those of all parts."""
    metrics = {
        name: torch.stack(
            [torch.as_tensor(result.metrics[name]).float() for result in results]
        ).mean()
        for name in results[0].metrics
    }
    return StepResult(
        torch.stack([result.loss for result in results]).mean(),
        torch.cat([result.embeddings for result in results]),
        metrics,
        sum((result.origins for result in results), ()),
    )
