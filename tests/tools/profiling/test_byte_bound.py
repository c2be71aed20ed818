import numpy as np
import pytest

from augengine.policies import load_policy, override_policy
from tools.profiling.byte_bound import count_bytes


def plain(**changes):
    changes = {"scale": [1.0, 1.0], "ratio": [1.0, 1.0], "jitter": 0.0, "blur": 0.0} | changes
    return override_policy(load_policy("simclr").with_views((2,), (8,)), changes)


def test_terms_of_whole_image_windows_by_hand():
    """Two views of a whole 20x20 image: its pixels once, two views, nothing held."""
    count = count_bytes(plain(), 20, 20, view_bytes=2)
    assert count.pixels == 3 * 20 * 20
    assert count.views == 2 * 3 * 8 * 8 * 2
    assert count.round_trips == 0
    # window 16, seven float32 or less: 4 * 6, order, flip, gray
    assert count.plan == 2 * (16 + 4 * 6 + 3)
    assert count.total == count.compulsory == count.pixels + count.plan + count.views


def test_views_with_contrast_or_blur_travel_twice_in_float32():
    """Always blurred: every view is written and read once more; output in 4 bytes is twice 2."""
    held = count_bytes(plain(blur=1.0), 20, 20, view_bytes=4)
    assert held.round_trips == 2 * 4 * 2 * 3 * 8 * 8
    assert held.views == 2 * count_bytes(plain(), 20, 20, view_bytes=2).views
    half = count_bytes(plain(jitter=0.5, contrast=0.5), 20, 20).round_trips
    assert half == pytest.approx(held.round_trips / 2, rel=0.15)


def test_a_pixel_in_two_windows_counts_once():
    """Windows of half the area: more than one of them covers, less than both together."""
    count = count_bytes(plain(scale=[0.5, 0.5]), 40, 40)
    assert 0.5 * 4800 < count.pixels < 0.99 * 4800


def test_the_bound_is_bandwidth_over_bytes():
    """Half the bandwidth, half the images."""
    count = count_bytes(load_policy("swav"), 375, 500)
    assert count.images_per_s(4.8e12) == pytest.approx(4.8e12 / count.total)
    assert np.isclose(count.images_per_s(2.4e12) * 2, count.images_per_s(4.8e12))
    assert count.pixels < 3 * 375 * 500
