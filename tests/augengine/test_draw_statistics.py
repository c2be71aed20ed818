"""What is drawn, 1e5 times, against what the policy says: all p-values > 1e-4 at fixed seeds."""

import numpy as np
import pytest
from scipy import stats

from augengine.draw import draw_plan
from augengine.plan import NO_SOLARIZE, Plan
from augengine.policies import load_policy, policy_names
from augengine.policy import CropGroup, Policy, ViewPolicy

NUM_DRAWS = 100_000
P_MIN = 1e-4
LARGE = 20_000  # pixels a side: rounding a window to whole pixels is far below what KS can see
JITTER = ViewPolicy(
    scale=(0.08, 1.0), jitter=0.8, brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1,
    gray=0.2, blur=0.5, sigma=(0.1, 2.0), solarize=0.2,
)  # fmt: skip


def draw(view: ViewPolicy, size: tuple[int, int] = (LARGE, LARGE), num_views: int = 1) -> Plan:
    count = NUM_DRAWS // num_views
    policy = Policy("tested", (CropGroup(num_views, 32, (view,)),))
    return draw_plan(policy, np.arange(count), np.zeros(count), np.tile(size, (count, 1)), seed=11)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return draw(JITTER)


def accepted_cdfs(view: ViewPolicy) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Exact CDFs of area share and log-ratio on a square image, given that a try fits it.

    A try (s, rho) is uniform on a rectangle and fits when s * exp(|rho|) <= 1.
    """
    share = np.linspace(*view.scale, 100_001)
    rho = np.linspace(*np.log(view.ratio), 100_001)
    density_share = np.minimum(rho[-1], -np.log(share))  # length of the rho that fit, by 2
    density_rho = np.maximum(0, np.minimum(share[-1], np.exp(-np.abs(rho))) - share[0])
    return tuple(
        (x, np.concatenate([[0], np.cumsum(d[1:] + d[:-1])]) / (d[1:] + d[:-1]).sum())
        for x, d in ((share, density_share), (rho, density_rho))
    )


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.05, 0.14), (0.4, 1.0)])
def test_window_area_and_ratio(scale: tuple[float, float]) -> None:
    """Area share and log-ratio follow the exact law of the tries that fit."""
    view = ViewPolicy(scale=scale)
    height, width = np.moveaxis(draw(view).window[:, 0, 2:].astype(np.float64), -1, 0)
    for drawn, (x, cdf) in zip(
        (height * width / LARGE**2, np.log(width / height)), accepted_cdfs(view), strict=True
    ):
        assert stats.kstest(drawn, lambda q, x=x, cdf=cdf: np.interp(q, x, cdf)).pvalue > P_MIN


def test_window_position(plan: Plan) -> None:
    """Top and left are uniform over the places the window has, and independent."""
    top, left, height, width = np.moveaxis(plan.window[:, 0].astype(np.float64), -1, 0)
    roomy = np.maximum(height, width) < LARGE - 1000  # elsewhere whole pixels are too coarse
    across, down = (
        (a[roomy] + 0.5) / (LARGE - b[roomy] + 1) for a, b in ((left, width), (top, height))
    )
    assert stats.kstest(across, "uniform").pvalue > P_MIN
    assert stats.kstest(down, "uniform").pvalue > P_MIN
    assert abs(np.corrcoef(across, down)[0, 1]) < 4.5 / np.sqrt(len(across))


def test_small_window_positions_include_both_ends() -> None:
    """A 4x4 window in 8x9: each of the 5 x 6 places is equally likely."""
    view = ViewPolicy(scale=(16 / 72, 16 / 72), ratio=(1, 1))
    window = draw(view, (8, 9)).window[:, 0]
    assert (window[:, 2:] == 4).all()
    counts = np.bincount(window[:, 0] * 6 + window[:, 1])
    assert len(counts) == 30
    assert stats.chisquare(counts).pvalue > P_MIN


@pytest.mark.parametrize("name", policy_names())
def test_probabilities_of_published_policies(name: str) -> None:
    """1e5 views of each policy: every op happens as often as the file says."""
    policy = load_policy(name)
    count = NUM_DRAWS // policy.num_views
    plan = draw_plan(policy, np.arange(count), np.zeros(count), np.full((count, 2), 500), seed=7)
    happened = {
        "flip": plan.flip,
        "jitter": (plan.brightness != 1) & (plan.hue != 0),
        "gray": plan.gray,
        "blur": plan.sigma > 0,
        "solarize": plan.solarize < NO_SOLARIZE,
    }
    views = [view for _, _, view in policy.flat_views]
    for view in set(views):
        columns = [v for v, other in enumerate(views) if other == view]
        for op, mask in happened.items():
            drawn = mask[:, columns]
            test = stats.binomtest(int(drawn.sum()), drawn.size, getattr(view, op))
            assert test.pvalue > P_MIN, (name, columns, op, drawn.mean(), getattr(view, op))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("brightness", 0.6, 1.4), ("contrast", 0.0, 2.5), ("saturation", 0.8, 1.2),
     ("hue", -0.1, 0.1), ("sigma", 0.1, 2.0)],
)  # fmt: skip
def test_amounts_are_uniform(plan: Plan, name: str, low: float, high: float) -> None:
    """Where an op applies, its amount is uniform over its range."""
    drawn = getattr(plan, name)[:, 0].astype(np.float64)
    applied = plan.sigma[:, 0] > 0 if name == "sigma" else plan.hue[:, 0] != 0
    assert stats.kstest(drawn[applied], "uniform", (low, high - low)).pvalue > P_MIN


def test_orders_are_uniform(plan: Plan) -> None:
    """The 24 orders of the colour ops are equally likely."""
    counts = np.bincount(plan.order[plan.hue != 0], minlength=24)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > P_MIN


def test_fields_of_a_view_are_independent(plan: Plan) -> None:
    """No field of a view is correlated with another: gates, amounts, window and order."""
    top, left, height, width = np.moveaxis(plan.window[:, 0].astype(np.float64), -1, 0)
    rows = (plan.hue[:, 0] != 0) & (plan.sigma[:, 0] > 0)
    columns = [
        np.log(height * width), np.log(width / height), top / (LARGE - height + 1),
        left / (LARGE - width + 1), plan.flip[:, 0], plan.brightness[:, 0], plan.contrast[:, 0],
        plan.saturation[:, 0], plan.hue[:, 0], plan.order[:, 0], plan.gray[:, 0], plan.sigma[:, 0],
        plan.solarize[:, 0],
    ]  # fmt: skip
    assert_uncorrelated([np.asarray(column, np.float64)[rows] for column in columns])


def test_gates_are_independent(plan: Plan) -> None:
    """Whether one op applies says nothing about another."""
    gates = [plan.flip, plan.hue != 0, plan.gray, plan.sigma > 0, plan.solarize < NO_SOLARIZE]
    assert_uncorrelated([gate[:, 0].astype(np.float64) for gate in gates])


def test_views_of_an_image_are_independent() -> None:
    """Views of one image share nothing: window, colour and order are uncorrelated across views."""
    plan = draw(JITTER, num_views=5)
    area = np.log(plan.window[..., 2].astype(np.float64) * plan.window[..., 3])
    for values in (area, plan.brightness, plan.order, plan.flip, plan.sigma, plan.window[..., 0]):
        assert_uncorrelated(list(values.astype(np.float64).T))


def test_neighbouring_ids_epochs_and_seeds_are_independent() -> None:
    """The next sample, the next epoch and the next seed are unrelated draws."""
    policy, count = Policy("tested", (CropGroup(1, 32, (JITTER,)),)), 20_000
    ids, sizes = np.arange(count), np.tile([400, 500], (count, 1))
    plans = [
        draw_plan(policy, ids + i, np.full(count, epoch), sizes, seed)
        for i, epoch, seed in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    for name in ("brightness", "flip", "sigma"):
        assert_uncorrelated([getattr(plan, name)[:, 0].astype(np.float64) for plan in plans])


def assert_uncorrelated(columns: list[np.ndarray]) -> None:
    """Every pair's correlation is within 4.5 standard errors of none."""
    correlations = np.corrcoef(np.stack(columns))[np.triu_indices(len(columns), 1)]
    assert np.isfinite(correlations).all()
    assert np.abs(correlations).max() < 4.5 / np.sqrt(len(columns[0]))


def test_the_fit_of_the_exact_law_would_notice() -> None:
    """The KS test is not blind: a lower scale wrong by .01, or plain uniform shares, fail it."""
    height, width = np.moveaxis(draw(ViewPolicy(scale=(0.08, 1))).window[:, 0, 2:] / LARGE, -1, 0)
    x, cdf = accepted_cdfs(ViewPolicy(scale=(0.09, 1)))[0]
    assert stats.kstest(height * width, lambda q: np.interp(q, x, cdf)).pvalue < P_MIN
    assert stats.kstest(height * width, "uniform", (0.08, 0.92)).pvalue < P_MIN
