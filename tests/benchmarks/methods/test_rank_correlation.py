"""Rank correlations and their intervals: scipy's, with ties and without, and what is known."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.methods.rank_correlation import (
    kendall,
    over_points,
    spearman,
    within_groups,
)

RNG = np.random.default_rng(3)
NOISY = [(x, x + 0.7 * RNG.standard_normal(20)) for x in (RNG.standard_normal(20),)]
PAIRS = [
    *NOISY,
    (np.array([1.0, 2, 3, 4, 5]), np.array([5.0, 4, 3, 2, 1])),
    (np.array([1.0, 1, 2, 2, 3, 3, 3]), np.array([2.0, 1, 1, 3, 3, 3, 0])),
    (RNG.integers(0, 4, 60).astype(float), RNG.integers(0, 3, 60).astype(float)),
]


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_correlations_are_scipys(x: np.ndarray, y: np.ndarray) -> None:
    """Of numbers without ties, with some, and with almost nothing else."""
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)


def test_what_does_not_vary_has_no_correlation() -> None:
    """NaN, not 0 and no error: nothing can be said of an order that is not there."""
    flat, slope = np.ones(4), np.arange(4.0)
    assert math.isnan(spearman(flat, slope))
    assert math.isnan(kendall(slope, flat))
    found = over_points(spearman, [1, 1, 1], [1, 2, 3])
    assert all(math.isnan(number) for number in (found.value, found.low, found.high))


@pytest.mark.parametrize("kind", ["spearmanr", "kendalltau"])
def test_the_interval_is_scipys(kind: str) -> None:
    """Both ends within 0.05 of scipy's percentile bootstrap of the same pairs of points."""
    (x, y) = NOISY[0]
    ours = over_points({"spearmanr": spearman, "kendalltau": kendall}[kind], list(x), list(y))
    theirs = stats.bootstrap(
        (x, y),
        lambda a, b: getattr(stats, kind)(a, b)[0],
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.05)
    assert ours.low < ours.value < ours.high
    assert ours.num_points == 20


def test_an_order_that_agrees_has_no_width() -> None:
    """Whatever is drawn again of two orders that are one, they stay one."""
    found = over_points(kendall, range(6), range(10, 16))
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


def test_groups_are_compared_within() -> None:
    """Two groups that each rise, one far above the other: +1 within, where the heap has less."""
    groups = [([0, 1, 2], [10, 11, 12]), ([5, 6, 7], [0, 1, 2])]
    within = within_groups(spearman, groups)
    assert (within.value, within.low, within.high, within.num_points) == pytest.approx((1, 1, 1, 6))
    x, y = ([*first, *second] for first, second in zip(*groups, strict=True))
    assert over_points(spearman, x, y).value < 0


def test_intervals_are_the_same_again() -> None:
    """A seed makes the draws: a document that is made anew says the same."""
    (x, y) = NOISY[0]
    first, again, other = (over_points(spearman, list(x), list(y), seed=s) for s in (0, 0, 1))
    assert first == again
    assert first != other
