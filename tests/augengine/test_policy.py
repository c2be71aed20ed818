"""Policies in memory: what is refused, and --views and --sizes applied to them."""

import math

import pytest

from augengine.policies import load_policy
from augengine.policy import CropGroup, Policy, ViewPolicy
from shards.errors import UsageError

VIEW = ViewPolicy(scale=(0.2, 1.0))


@pytest.mark.parametrize(
    ("values", "rule"),
    [({"flip": 1.5}, "flip is a probability"), ({"gray": math.nan}, "gray is a probability"),
     ({"contrast": -0.1}, "contrast is a strength"), ({"contrast": math.inf}, "contrast"),
     ({"hue": 0.6}, "hue is a strength in turns"), ({"scale": (0.5, 0.2)}, "0 < low <= high <= 1"),
     ({"scale": (0.0, 0.2)}, "scale"), ({"ratio": (0, 1)}, "ratio"), ({"sigma": (2, 1)}, "sigma"),
     ({"kernel_px": 4}, "positive odd"), ({"kernel_px": -1}, "positive odd"),
     ({"saturation": 1e9}, "saturation is a strength, 0 to 100"), ({"ratio": (1e-9, 1)}, "ratio"),
     ({"ratio": (1, 1e9)}, "high <= 10000"), ({"sigma": (1, 1e9)}, "sigma .* high <= 4096"),
     ({"interpolation": "nearest"}, "bilinear, bicubic"), ({"threshold": 128}, "threshold")],
)  # fmt: skip
def test_views_that_cannot_be_are_refused(values: dict, rule: str) -> None:
    """A value out of range is a usage error that gives the rule and the value."""
    with pytest.raises(UsageError, match=f"{rule}.*got"):
        ViewPolicy(**({"scale": (0.2, 1.0)} | values))


@pytest.mark.parametrize(
    ("count", "size_px", "views"),
    [(0, 9, (VIEW,)), (65, 9, (VIEW,)), (1, 0, (VIEW,)), (1, 9, ()), (1, 4097, (VIEW,))],
)
def test_groups_that_cannot_be_are_refused(count: int, size_px: int, views: tuple) -> None:
    """Counts, sizes and the list of views have limits."""
    with pytest.raises(UsageError, match="got"):
        CropGroup(count, size_px, views)


@pytest.mark.parametrize(
    "values",
    [{"groups": ()}, {"std": (1, 1, 0)}, {"std": (1, 1)}, {"mean": (0, 0, math.nan)},
     {"mean": (0, 1e9, 0)}, {"std": (1, 1, 1e-9)}, {"std": (1e9, 1, 1)}],
)  # fmt: skip
def test_policies_that_cannot_be_are_refused(values: dict) -> None:
    """No groups, and normalisation that divides by nothing, are usage errors."""
    with pytest.raises(UsageError, match="got"):
        Policy(**({"name": "x", "groups": (CropGroup(1, 9, (VIEW,)),)} | values))


def test_views_and_sizes_replace_counts_and_sizes() -> None:
    """2+4 at 64+32 changes these and nothing else; fewer counts drop the last groups."""
    policy = load_policy("byol")
    small = policy.with_views((2, 4), (64, 32))
    assert [(g.count, g.size_px) for g in small.groups] == [(2, 64), (4, 32)]
    assert [g.views for g in small.groups] == [g.views for g in policy.groups]
    assert (small.num_views, small.mean, small.name) == (6, policy.mean, "byol")
    assert policy.with_views((2,)).groups == policy.groups[:1]
    assert [g.size_px for g in policy.with_views((0, 6)).groups] == [96]


def test_flat_views_follow_the_groups() -> None:
    """Views are listed group by group, each group's policies in turn."""
    flat = load_policy("byol").with_views((3, 1)).flat_views
    assert [(group, size_px) for group, size_px, _ in flat] == [(0, 224)] * 3 + [(1, 96)]
    assert [view.blur for _, _, view in flat] == [1.0, 0.1, 1.0, 0.5]


@pytest.mark.parametrize(
    ("counts", "sizes", "message"),
    [((2, 6, 1), None, r"2 crop groups, got --views 2\+6\+1; give at most 2"),
     ((2, 6), (224,), r"one size per count of --views, got 224 for 2\+6"),
     ((0, 0), None, "at least one view"), ((2, 65), None, "1 to 64 views"),
     ((2, 6), (224, 5000), "1 to 4096 pixels")],
)  # fmt: skip
def test_views_that_do_not_fit_are_refused(counts: tuple, sizes: tuple, message: str) -> None:
    """Counts without a description, sizes without counts and absurd ones are named."""
    with pytest.raises(UsageError, match=message):
        load_policy("swav").with_views(counts, sizes)
