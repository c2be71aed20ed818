"""First and last rates of every published recipe, beside its official code's schedule.

The schedules below are the codes', written out in their own terms: steps `i` of `n` an epoch. Some
warm-ups arrive at the peak a step before ours, by 1/w of it for w steps, and some codes move once
an epoch; each of those is compared at the bound that this allows.
"""

import math
from collections.abc import Callable

import pytest

from trainer.methods.protocol import Progress
from trainer.optim.create_optimizer import OptimSettings
from trainer.optim.schedule import lr_share, peak_lr
from trainer.recipes.recipe import read_recipe, resolve

N = 50  # steps an epoch
Schedule = Callable[[int, int], float]  # step, epochs -> rate


def half_cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def from_zero(peak: float, warm: int = 10) -> Schedule:
    """byol/utils/schedules.py, google-research/simclr model_util.py, moco-v3 main_moco.py."""

    def rate(i: int, epochs: int) -> float:
        if i < warm * N:
            return peak * i / (warm * N)
        return peak * half_cosine((i - warm * N) / ((epochs - warm) * N))

    return rate


def barlow(peak: float) -> Schedule:
    """barlowtwins and vicreg, adjust_learning_rate: to a thousandth."""

    def rate(i: int, epochs: int) -> float:
        if i < 10 * N:
            return peak * i / (10 * N)
        q = half_cosine((i - 10 * N) / ((epochs - 10) * N))
        return peak * q + peak * 0.001 * (1 - q)

    return rate


def linspace(start: float, peak: float, final: float, warm: int) -> Schedule:
    """swav main_swav.py and dino utils.cosine_scheduler: the warm-up's last step is at the peak."""

    def rate(i: int, epochs: int) -> float:
        if i < warm * N:
            return start + (peak - start) * i / (warm * N - 1)
        return final + (peak - final) * half_cosine((i - warm * N) / ((epochs - warm) * N))

    return rate


def lightly(peak: float) -> Schedule:
    """lightly CosineWarmupScheduler: begins a step into the warm-up, ends at a thousandth."""

    def rate(i: int, epochs: int) -> float:
        if i < 10 * N:
            return peak * (i + 1) / (10 * N)
        last = (epochs - 10) * N - 1
        return 0.001 * peak + 0.999 * peak * half_cosine((i - 10 * N) / last)

    return rate


def per_epoch(peak: float) -> Schedule:
    """moco (--cos) and simsiam: a cosine that moves once an epoch."""
    return lambda i, epochs: peak * half_cosine(i // N / epochs)


def fastmoco(i: int, epochs: int) -> float:
    """Fast-MoCo, lr_scheduler: a warm-up that arrives, then a cosine that moves once an epoch."""
    if i < N:
        return 0.025 + 0.075 * i / (N - 1)
    return 0.1 * half_cosine((i // N - 1) / (epochs - 1))


def drops(peak: float, *at: int) -> Schedule:
    """lemniscate main.py and moco --schedule: a tenth at each of these epochs, no warm-up."""
    return lambda i, epochs: peak * 0.1 ** sum(i // N >= epoch for epoch in at)


def lemniscate_cifar(i: int, epochs: int) -> float:
    """lemniscate cifar.py: a tenth every 40 epochs after 80."""
    epoch = i // N
    return 0.03 * 0.1 ** ((epoch - 80) // 40) if epoch >= 80 else 0.03


EXACT = 1e-9  # of the peak
ARRIVES_EARLIER = 1 / (10 * N - 1)
PER_EPOCH = math.pi / 2 / 100  # a cosine's steepest epoch of a hundred
# recipe: (the code's schedule, bound on the difference as a share of the peak)
OFFICIAL: dict[str, tuple[Schedule, float]] = {
    "byol": (from_zero(4.8), EXACT),
    "sslhsic": (from_zero(6.4), EXACT),
    "simclr": (from_zero(4.8), EXACT),
    "simclrv2": (from_zero(6.4, 40), EXACT),
    "simclrv2_r152x3sk": (from_zero(6.4, 40), EXACT),
    "simclr_cifar": (from_zero(2.0), EXACT),
    "mocov3": (from_zero(9.6), EXACT),
    "mocov3_vit": (from_zero(2.4e-3, 40), EXACT),
    "barlow": (barlow(1.6), EXACT),
    "vicreg": (barlow(1.6), EXACT),
    "swav": (linspace(0, 0.6, 0.0006, 0), EXACT),
    "dino": (linspace(0, 0.06, 1e-6, 10), ARRIVES_EARLIER),
    "dino_vit": (linspace(0, 0.001, 1e-6, 10), ARRIVES_EARLIER),
    "dcl": (lightly(1.2), ARRIVES_EARLIER),
    "dclw": (lightly(1.2), ARRIVES_EARLIER),
    "ressl": (from_zero(0.05, 5), EXACT),
    "sce": (linspace(0, 4.8, 0, 10), ARRIVES_EARLIER),
    "sce_multicrop": (linspace(0, 4.8, 0, 10), ARRIVES_EARLIER),
    "sce_cifar": (linspace(0, 0.06, 0, 5), 1 / (5 * N - 1)),
    "msf": (per_epoch(0.05), PER_EPOCH),
    "mocov2": (per_epoch(0.03), PER_EPOCH),
    "simreg": (per_epoch(0.05), PER_EPOCH),
    "simsiam": (per_epoch(0.1), PER_EPOCH),
    "simsiam_cifar": (per_epoch(0.06), PER_EPOCH),
    "fastmoco": (fastmoco, PER_EPOCH),
    "mocov1_cifar": (per_epoch(0.06), PER_EPOCH),
    "mocov1": (drops(0.03, 120, 160), EXACT),
    "instdisc": (drops(0.03, 120, 160), EXACT),
    "exemplar": (drops(0.03, 120, 160), EXACT),
    "instdisc_cifar": (lemniscate_cifar, EXACT),
    "exemplar_cifar": (lemniscate_cifar, EXACT),
}


def rates(optim: OptimSettings, batch: int, epochs: int) -> list[float]:
    """Of every step of a run."""
    peak = peak_lr(optim.base_lr, batch, optim.scaling)
    keys = ("schedule", "warmup_epochs", "final", "drop_epochs", "drop_factor")
    rule = {key: getattr(optim, key) for key in keys}
    return [
        peak * lr_share(Progress(i, epochs * N, N), start=optim.warmup_start, **rule)
        for i in range(epochs * N)
    ]


@pytest.mark.parametrize("name", OFFICIAL)
def test_rates_are_the_codes(name: str) -> None:
    """First, last and every rate between are the official code's."""
    config = resolve(read_recipe(name))
    epochs = round(config.loop.epochs)
    ours = rates(config.optim, config.loop.batch_size, epochs)
    official, bound = OFFICIAL[name]
    theirs = [official(i, epochs) for i in range(epochs * N)]
    peak = max(theirs)
    assert max(ours) == pytest.approx(peak)
    differences = [abs(a - b) / peak for a, b in zip(ours, theirs, strict=True)]
    assert max(differences) <= bound
    # Where the codes move every step, the ends are theirs to 1/w as well.
    assert (ours[0] == 0) == (config.optim.warmup_epochs > 0 and config.optim.warmup_start == 0)
    assert ours[-1] == pytest.approx(theirs[-1], rel=1e-6, abs=peak * min(bound, 3e-4))


def test_swav_at_4096_and_deepcluster() -> None:
    """The larger recipes start at 0.3 of 4.8; ours of DeepCluster v2 after an epoch that looks."""
    theirs = linspace(0.3, 4.8, 0.0048, 10)
    swav = OptimSettings(
        name="larc", base_lr=0.3, warmup_epochs=10, warmup_start=0.0625, final=0.001
    )
    ours = rates(swav, 4096, 800)
    assert (ours[0], ours[10 * N]) == pytest.approx((0.3, 4.8))
    for i, rate in enumerate(ours):
        assert abs(rate - theirs(i, 800)) <= 4.8 * ARRIVES_EARLIER
    config = resolve(read_recipe("deepclusterv2"))
    ours = rates(config.optim, 4096, 801)
    assert ours[N] == pytest.approx(4.8 / 11)  # the first step that trains; theirs: 0.3
    for i in range(11 * N, 801 * N):
        assert ours[i] == pytest.approx(theirs(i - N, 800))


def test_the_first_step_of_steps_is_whole() -> None:
    """Without a warm-up the first update is made at the full rate, whatever the schedule."""
    for rule in ({"schedule": "steps", "drop_epochs": (3.0,)}, {"schedule": "cosine"}):
        assert lr_share(Progress(0, 100, 10), warmup_epochs=0, **rule) == 1.0
        assert lr_share(Progress(0, 100, 10), warmup_epochs=2, **rule) == 0.0
        assert lr_share(Progress(0, 100, 10), warmup_epochs=2, start=0.25, **rule) == 0.25
        assert lr_share(Progress(20, 100, 10), warmup_epochs=2, **rule) == 1.0
