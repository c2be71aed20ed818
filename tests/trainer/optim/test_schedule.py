"""Learning rates at the points where the recipes state them."""

import math
from itertools import pairwise

import pytest

from trainer.methods.protocol import Progress
from trainer.optim.schedule import cosine, lr_share, peak_lr, warmup_cosine


def at(step: int, total: int = 1000) -> Progress:
    return Progress(step, total, steps_per_epoch=10)


def test_linear_scaling() -> None:
    """SwAV: base 0.3 gives 4.8 at a batch of 4096."""
    assert peak_lr(0.3, 4096) == pytest.approx(4.8)


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    """Ten epochs of ten steps from the start share to 1, then down."""
    shares = [warmup_cosine(at(s), warmup_epochs=10, start=0.0625) for s in (0, 50, 100, 101)]
    assert shares[:3] == pytest.approx([0.0625, 0.53125, 1.0])
    assert shares[3] < 1


def test_cosine_ends_at_final() -> None:
    """Half-way lies the mean of peak and final; the end is final, and so is anything after it."""
    ends = [warmup_cosine(at(s), warmup_epochs=0, final=0.001) for s in (0, 500, 1000, 1500)]
    assert ends == pytest.approx([1.0, 0.5005, 0.001, 0.001])


def test_follows_the_formula_everywhere() -> None:
    """Every step of a run with fractional warm-up equals the written formula, without a jump."""
    shares = [warmup_cosine(at(s), warmup_epochs=2.55, final=0.1) for s in range(1001)]
    for step, share in enumerate(shares):
        if step < 25.5:
            assert share == pytest.approx(step / 25.5)
        else:
            angle = math.pi * (step - 25.5) / (1000 - 25.5)
            assert share == pytest.approx(0.1 + 0.9 * (1 + math.cos(angle)) / 2)
    assert max(abs(a - b) for a, b in pairwise(shares)) < 0.04


def test_a_run_shorter_than_its_warm_up() -> None:
    """It only warms up and never divides by zero."""
    assert warmup_cosine(at(5, total=20), warmup_epochs=10) == pytest.approx(0.05)
    assert warmup_cosine(at(20, total=20), warmup_epochs=2) == pytest.approx(1.0)


def test_square_root_scaling() -> None:
    """SimCLR v2: base 0.1 gives 6.4 at a batch of 4096."""
    assert peak_lr(0.1, 4096, "sqrt") == pytest.approx(6.4)


def test_steps_drop_at_their_epochs() -> None:
    """MoCo: a tenth from epoch 40 on, a hundredth from 80 on, after a warm-up of 10."""
    rule = {"schedule": "steps", "drop_epochs": (40, 80), "warmup_epochs": 10}
    shares = [lr_share(at(s), **rule) for s in (0, 50, 100, 399, 400, 799, 800)]
    assert shares == pytest.approx([0, 0.5, 1, 1, 0.1, 0.1, 0.01])


def test_a_cosine_between_two_values() -> None:
    """DINO's weight decay: 0.04 at the start, 0.4 at the end, their mean half-way."""
    ends = [cosine(0.04, 0.4, fraction) for fraction in (0, 0.5, 1, 2)]
    assert ends == pytest.approx([0.04, 0.22, 0.4, 0.4])
