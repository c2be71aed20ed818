"""Checks of a run's length: a batch within the data, at least one step, a word if there are few.

A recipe's batch is its paper's, for a million images; on thousands it leaves a handful of steps.
"""

import math

from shards.errors import UsageError
from shards.index import ShardIndex
from shards.terminal.counted import counted
from trainer.config import LoopConfig
from trainer.optim.create_optimizer import OptimSettings

FEW_STEPS = 100  # of a whole run: fewer leave an encoder about where it began
WARMUP_SHARE = 0.1  # of a run, as SimCLR's and BYOL's ten epochs of a hundred
SMALL_BATCH = 32  # batch norm and contrast want no smaller one


def check_length(loop: LoopConfig, index: ShardIndex) -> None:
    """UsageError for a batch that is larger than the data, or a run without a step."""
    batch, epochs = loop.batch_size, loop.epochs
    images = index.epoch_samples
    if batch > images:
        raise UsageError(
            f"a batch is at most the data set, got --batch-size {batch} for "
            f"{counted(images, 'image')} in {index.directory}; try --batch-size "
            f"{max(2, images // 4)}"
        )
    if epochs * images < batch:
        raise UsageError(
            f"a run has at least one step, got {counted(epochs, 'epoch')} of "
            f"{counted(images, 'image')} in batches of {batch}; raise --epochs"
        )


def warn_of_few_steps(loop: LoopConfig, num_images: int) -> str | None:
    """A sentence for a run of fewer than `FEW_STEPS` steps, with what to type instead."""
    steps = math.floor(loop.epochs * num_images / loop.batch_size)
    if steps >= FEW_STEPS:
        return None
    return (
        f"a run of {counted(steps, 'step')} learns next to nothing: --batch-size {loop.batch_size} "
        f"of {counted(num_images, 'image')} for {counted(loop.epochs, 'epoch')}; type "
        f"{_advice(loop, num_images)}"
    )


def warn_of_long_warmup(optim: OptimSettings, loop: LoopConfig) -> str | None:
    """A sentence for a run that ends while its rate still rises, with what to type instead."""
    warmup = optim.warmup_epochs
    if warmup < loop.epochs:
        return None
    start = optim.warmup_start
    reached = start + (1 - start) * loop.epochs / warmup
    return (
        f"the rate rises for {counted(warmup, 'epoch')} and the run has {loop.epochs:g}: it ends "
        f"at {reached:.0%} of its peak and never falls; type "
        f"optim.warmup_epochs={WARMUP_SHARE * loop.epochs:.2g}"
    )


def _advice(loop: LoopConfig, num_images: int) -> str:
    """The largest power of two that gives enough steps; if that is small, more epochs too."""
    enough = loop.epochs * num_images / FEW_STEPS
    batch = 2 ** math.floor(math.log2(max(1, enough)))
    if batch >= SMALL_BATCH:
        return f"--batch-size {batch}"
    batch = min(loop.batch_size, 2 * SMALL_BATCH)
    shrink = f"--batch-size {batch} " if batch < loop.batch_size else ""
    return f"{shrink}--epochs {math.ceil(FEW_STEPS * batch / num_images)}"
