"""Learning rates as pure functions of where the run is: linear warm-up, then a cosine, per step.

The peak follows the rule of the papers, base x batch / 256 (Goyal et al. 2017, 1706.02677).
Warm-up start and final value are shares of the peak, so that they follow the batch too.
"""

import math

from trainer.methods.protocol import Progress

REFERENCE_BATCH = 256


def peak_lr(
    base_lr: float,  # at a batch of 256 images
    batch_size: int,  # images, over all ranks
) -> float:
    """The linear scaling rule: base x batch / 256."""
    return base_lr * batch_size / REFERENCE_BATCH


def warmup_cosine(
    progress: Progress,
    *,
    warmup_epochs: float,
    start: float = 0.0,  # share of the peak at step 0, when there is a warm-up
    final: float = 0.0,  # share of the peak that the cosine ends at
) -> float:
    """Share of the peak for the step about to be taken.

    with w = warmup steps, t = step, T = total steps:
    t < w:   start + (1 - start) t / w
    else:    final + (1 - final) (1 + cos(pi (t - w) / (T - w))) / 2
    A run shorter than its warm-up only warms up.
    """
    warmup_steps = warmup_epochs * progress.steps_per_epoch
    if progress.step < warmup_steps:
        return start + (1 - start) * progress.step / warmup_steps
    done = (progress.step - warmup_steps) / max(1.0, progress.total_steps - warmup_steps)
    return final + (1 - final) * (1 + math.cos(math.pi * min(1.0, done))) / 2
