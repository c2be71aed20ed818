import numpy as np
import pytest

from augengine.loader.center_plan import center_plan
from augengine.reference import render
from shards.errors import UsageError

SIZES = np.array([[40, 60], [61, 40], [7, 7], [1, 9]])


def test_window_is_the_centre_square():
    """The window has the shorter side and equal margins; a spare pixel is right or below."""
    plan = center_plan(np.arange(4), SIZES, 32)
    assert plan.window[:, 0].tolist() == [
        [0, 10, 40, 40],
        [10, 0, 40, 40],
        [0, 0, 7, 7],
        [0, 4, 1, 1],
    ]
    assert plan.size_px.tolist() == [32]


@pytest.mark.parametrize("fraction", [0.01, 224 / 256, 0.5])
def test_fraction_scales_the_side(fraction):
    """The side is the rounded fraction of the shorter side, and at least one pixel."""
    plan = center_plan(np.arange(4), SIZES, 8, fraction=fraction)
    expected = np.maximum(1, np.rint(fraction * SIZES.min(1)))
    assert (plan.window[:, 0, 2] == expected).all()
    assert (plan.window[:, 0, 3] == expected).all()


def test_nothing_is_drawn():
    """Of a square image at its own size the view is the image itself, normalised."""
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    plan = center_plan(np.array([5]), np.array([[16, 16]]), 16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    view = render(image, plan, 0, 0)
    np.testing.assert_allclose(view, image.transpose(2, 0, 1) / 255, atol=1e-6)


@pytest.mark.parametrize(("fraction", "size_px"), [(0.0, 8), (1.1, 8), (1.0, 0)])
def test_bad_settings_are_usage_errors(fraction, size_px):
    """A fraction outside (0, 1] and a size below one pixel are refused with the rule."""
    with pytest.raises(UsageError, match=r"fraction lies in|at least 1 pixel"):
        center_plan(np.arange(4), SIZES, size_px, fraction=fraction)
