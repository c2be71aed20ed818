"""How far two orders agree: Spearman's rho and Kendall's tau-b, with bootstrap intervals.

Of columns of numbers, with ties as scipy counts them (mean ranks; tau-b). An interval is the
percentile bootstrap: the points are drawn again, with replacement, from those that there are, and
within their own group where groups are given. A draw in which one side does not vary has no
correlation and is left out. Points of one run are no independent draws, so an interval says how
much hangs on single points, and not what another run would give.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
LEVEL = 0.95
_Numbers = np.ndarray  # [..., N] float64
Correlation = Callable[[_Numbers, _Numbers], _Numbers]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A correlation and its interval; NaN where there is none."""

    value: float
    low: float
    high: float
    num_points: int


def spearman(
    x: _Numbers,  # [..., N] float
    y: _Numbers,  # [..., N] float
) -> _Numbers:
    """Pearson's correlation of the mean ranks, [...]; NaN where one side does not vary."""
    # How many are less minus how many are more: twice the rank, less its mean.
    return _cosine(*(_signs(values).sum(axis=-1) for values in (x, y)))


def kendall(
    x: _Numbers,  # [..., N] float
    y: _Numbers,  # [..., N] float
) -> _Numbers:
    """Pairs in one order minus pairs in the other, over those not tied: tau-b, [...]; NaN alike."""
    return _cosine(*(_signs(v).reshape(*v.shape[:-1], -1) for v in (x, y)))


def over_points(
    correlation: Correlation, x: Sequence[float], y: Sequence[float], seed: int = 0
) -> Estimate:
    """Of all points, in one heap."""
    return within_groups(correlation, [(x, y)], seed)


def within_groups(
    correlation: Correlation,
    groups: Sequence[tuple[Sequence[float], Sequence[float]]],
    seed: int = 0,
) -> Estimate:
    """The mean of the groups' correlations; points are drawn again within each group."""
    pairs = [tuple(np.asarray(side, np.float64) for side in group) for group in groups]
    rng = np.random.default_rng(seed)
    value = _mean([correlation(x, y) for x, y in pairs])
    drawn = []
    for x, y in pairs:
        places = rng.integers(0, len(x), (DRAWS, len(x)))
        drawn.append(correlation(x[places], y[places]))
    again = _mean(drawn)
    kept = again[~np.isnan(again)]
    tails = (50 * (1 - LEVEL), 50 * (1 + LEVEL))
    low, high = np.percentile(kept, tails) if len(kept) else (np.nan, np.nan)
    return Estimate(float(value), float(low), float(high), sum(len(x) for x, _ in pairs))


def _signs(values: _Numbers) -> _Numbers:
    """[..., N, N]: 1 where the first is more than the second, -1 where less, 0 where equal."""
    return np.sign(values[..., :, None] - values[..., None, :])


def _cosine(a: _Numbers, b: _Numbers) -> _Numbers:
    """Of vectors along the last axis; NaN where one is zero."""
    lengths = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    return np.where(lengths > 0, (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1), np.nan)


def _mean(values: Sequence[_Numbers]) -> _Numbers:
    """Of those that are numbers, one by one; NaN where none is."""
    found = np.stack(values)
    there = ~np.isnan(found)
    total, count = np.where(there, found, 0).sum(axis=0), there.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
