"""Learning rates as pure functions of where the run is: linear warm-up, then a cosine or steps.

The peak follows the rule of the papers, base x batch / 256 (Goyal et al. 2017, 1706.02677), or
SimCLR's square root. Warm-up start and final value are shares of the peak, so that they follow the
batch too. Everything moves per step; MoCo's and SimSiam's code moves once an epoch.
"""

import math

from trainer.methods.protocol import Progress

REFERENCE_BATCH = 256
SCALINGS = ("linear", "sqrt")
SCHEDULES = ("cosine", "steps")


def peak_lr(
    base_lr: float,
    batch_size: int,  # images, over all ranks
    scaling: str = "linear",
) -> float:
    """`linear`: base x batch / 256; `sqrt`: base x sqrt(batch) (SimCLR, appendix B.1)."""
    if scaling == "sqrt":
        return base_lr * math.sqrt(batch_size)
    return base_lr * batch_size / REFERENCE_BATCH


def cosine(start: float, end: float, fraction: float) -> float:
    """From start at fraction 0 to end at 1 along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, fraction))) / 2


def lr_share(
    progress: Progress,
    *,
    schedule: str = "cosine",
    warmup_epochs: float = 0.0,
    start: float = 0.0,
    final: float = 0.0,
    drop_epochs: tuple[float, ...] = (),
    drop_factor: float = 0.1,
) -> float:
    """Share of the peak for the step about to be taken, by the schedule's name.

    `steps`: the warm-up's share, times drop_factor for each of drop_epochs that has begun.
    """
    if schedule == "cosine":
        return warmup_cosine(progress, warmup_epochs=warmup_epochs, start=start, final=final)
    warm = _warm_up(progress, warmup_epochs, start)
    return warm * drop_factor ** sum(progress.epoch >= epoch for epoch in drop_epochs)


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
        return _warm_up(progress, warmup_epochs, start)
    done = (progress.step - warmup_steps) / max(1.0, progress.total_steps - warmup_steps)
    return cosine(1.0, final, done)


def _warm_up(progress: Progress, warmup_epochs: float, start: float) -> float:
    """In a line from start at step 0 to 1; 1 at once without a warm-up."""
    warmup_steps = warmup_epochs * progress.steps_per_epoch
    if progress.step >= warmup_steps:
        return 1.0
    return start + (1 - start) * progress.step / warmup_steps
