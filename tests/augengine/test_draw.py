"""A drawn plan: the same row in any batch, independent fields, windows as torchvision's."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from augengine.draw import Field, draw_plan, kernel_taps
from augengine.plan import NO_SOLARIZE, Plan
from augengine.policies import load_policy, override_policy
from augengine.policy import CropGroup, Policy, ViewPolicy
from augengine.rng import uniforms
from shards.errors import UsageError

IDS = np.arange(64) * 1_000_003
EPOCHS = np.arange(64) % 3
SIZES = np.random.default_rng(0).integers(1, 700, (64, 2))
POLICY = override_policy(load_policy("byol"), {"solarize": 0.3})


def one_view(**values: object) -> Policy:
    return Policy("one", (CropGroup(1, 32, (ViewPolicy(**({"scale": (0.1, 1.0)} | values)),)),))


def draw(policy: Policy = POLICY, rows: object = slice(None), seed: int = 3) -> Plan:
    return draw_plan(policy, IDS[rows], EPOCHS[rows], SIZES[rows], seed)


@pytest.mark.parametrize("batch_size", [1, 8, 64])
def test_a_row_is_the_same_in_any_batch(batch_size: int) -> None:
    """Batches of 1, 8 and 64, in any order, hold the same rows."""
    whole = draw()
    rows = np.random.default_rng(1).permutation(64)
    for part in rows.reshape(-1, batch_size):
        assert draw(rows=part).digest() == whole.rows(part).digest()


def test_seed_epoch_and_id_matter() -> None:
    """Another seed, epoch or id gives other windows; the same ones the same plan."""
    sizes = np.full((64, 2), 500)
    plans = [
        draw_plan(POLICY, IDS, EPOCHS, sizes, 0),
        draw_plan(POLICY, IDS, EPOCHS, sizes, 1),
        draw_plan(POLICY, IDS, EPOCHS + 3, sizes, 0),
        draw_plan(POLICY, IDS + 1, EPOCHS, sizes, 0),
    ]
    for i, plan in enumerate(plans):
        for other in plans[:i]:
            assert (plan.window != other.window).any(axis=-1).mean() > 0.99
    assert draw_plan(POLICY, IDS, EPOCHS, sizes, 0).digest() == plans[0].digest()


@pytest.mark.parametrize(
    ("counts", "kept"),
    [((2, 4), {0: 0, 1: 1, 2: 2, 5: 5}), ((4, 6), {0: 0, 1: 1, 4: 2, 9: 7}), ((1,), {0: 0})],
)
def test_views_stay_when_their_number_changes(counts: tuple[int, ...], kept: dict) -> None:
    """2+4, 4+6 and 1 draw the views they share with 2+6 alike: {their view: view of 2+6}."""
    policy = load_policy("swav")
    base, changed = draw(policy), draw(policy.with_views(counts))
    for new, old in kept.items():
        np.testing.assert_array_equal(changed.window[:, new], base.window[:, old])
        np.testing.assert_array_equal(changed.hue[:, new], base.hue[:, old])
        np.testing.assert_array_equal(changed.sigma[:, new], base.sigma[:, old])


PROBABILITIES = {
    "flip": {"flip"},
    "vflip": {"vflip"},
    "rotate90": {"quarter_turns"},
    "jitter": {"brightness", "contrast", "saturation", "hue", "order"},
    "gray": {"gray"},
    "blur": {"sigma"},
    "solarize": {"solarize"},
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_a_probability_changes_only_its_own_fields(name: str) -> None:
    """Switching one op off or always on leaves every other field as it was."""
    plans = [draw(override_policy(POLICY, {name: p})) for p in (0.0, 0.5, 1.0)]
    for field in fields(Plan):
        values = [np.asarray(getattr(plan, field.name)) for plan in plans]
        if field.name in PROBABILITIES[name]:
            assert (values[0] != values[2]).any()
        else:
            assert (values[0] == values[1]).all()
            assert (values[1] == values[2]).all()


def test_an_op_that_applies_more_often_applies_where_it_did() -> None:
    """Raising a probability adds cases; the amounts of those it had stay."""
    some, all_ = (draw(override_policy(POLICY, {"blur": p})) for p in (0.4, 1.0))
    applied = some.sigma > 0
    assert 0 < applied.mean() < 1
    np.testing.assert_array_equal(some.sigma[applied], all_.sigma[applied])


def test_neutral_where_nothing_applies() -> None:
    """A policy without ops draws neutral values; strength 0 keeps its op neutral."""
    plan = draw(one_view(flip=0))
    for name, neutral in [("flip", 0), ("brightness", 1), ("contrast", 1), ("saturation", 1)]:
        assert (getattr(plan, name) == neutral).all()
    for name, neutral in [("hue", 0), ("gray", 0), ("sigma", 0), ("solarize", NO_SOLARIZE)]:
        assert (getattr(plan, name) == neutral).all()
    plan = draw(one_view(jitter=1.0, contrast=0.4))
    assert (plan.contrast != 1).all()
    assert (plan.brightness == 1).all()
    assert (plan.hue == 0).all()


def test_a_zero_contrast_factor_is_the_lowest() -> None:
    """Strengths above 1 are cut at factor 0, as torchvision's."""
    plan = draw(override_policy(POLICY, {"jitter": 1.0, "contrast": 3.0}))
    assert plan.contrast.min() >= 0
    assert plan.contrast.max() > 3


def window_by_hand(
    policy: ViewPolicy, height: int, width: int, tries: np.ndarray, position: np.ndarray
) -> list[int]:
    """torchvision's RandomResizedCrop.get_params, in plain Python, on given uniform numbers."""
    log_low, log_high = (math.log(r) for r in policy.ratio)
    for u_area, u_ratio in tries.reshape(-1, 2):
        area = height * width * (policy.scale[0] + u_area * (policy.scale[1] - policy.scale[0]))
        ratio = math.exp(log_low + u_ratio * (log_high - log_low))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = position[0] * (height - h + 1), position[1] * (width - w + 1)
            return [int(top), int(left), h, w]
    h, w = height, width
    if width / height < policy.ratio[0]:
        h = round(width / policy.ratio[0])
    elif width / height > policy.ratio[1]:
        w = round(height * policy.ratio[1])
    return [(height - h) // 2, (width - w) // 2, h, w]


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.05, 0.14), (0.9, 1.0), (1.0, 1.0)])
def test_windows_are_torchvisions(scale: tuple[float, float]) -> None:
    """On any image, thin and tiny ones too, the vectorised crop is the plain algorithm's."""
    policy = one_view(scale=scale)
    sizes = np.random.default_rng(2).integers(1, 500, (3000, 2))
    sizes[:600] = np.random.default_rng(3).integers(1, 8, (600, 2))
    sizes[600:900, 0], sizes[900:1200, 1] = 1, 1
    ids, epochs, key = np.arange(3000), np.zeros(3000, np.int64), np.array([0])
    plan = draw_plan(policy, ids, epochs, sizes, seed=5)
    tries = uniforms(5, epochs, ids, key, Field.WINDOW, 2 * 10)[:, 0]
    positions = uniforms(5, epochs, ids, key, Field.POSITION, 2)[:, 0]
    view = policy.groups[0].views[0]
    for b in range(3000):
        expected = window_by_hand(view, *sizes[b].tolist(), tries[b], positions[b])
        assert plan.window[b, 0].tolist() == expected, sizes[b]


def test_a_wide_image_falls_back_to_its_centre() -> None:
    """300x1200 at scale (0.9, 1) fits no try: torchvision's centred 300x400."""
    plan = draw_plan(one_view(scale=(0.9, 1)), IDS, EPOCHS, np.tile([300, 1200], (64, 1)), 0)
    assert (plan.window == [0, 400, 300, 400]).all()


def test_every_image_has_a_window_even_with_odd_ratios() -> None:
    """1xN and Nx1 images and ratios far from 1 give windows of at least one pixel."""
    sizes = np.array([[1, 1], [1, 2], [2, 1], [1, 65535], [65535, 1], [3, 2]])
    for ratio in ((0.01, 0.02), (50.0, 100.0), (0.75, 4 / 3)):
        plan = draw_plan(one_view(ratio=ratio), np.arange(6), np.zeros(6), sizes, 0)
        assert (plan.window[..., 2:] >= 1).all()


@pytest.mark.parametrize(
    ("kernel_px", "size_px", "taps"),
    [(None, 224, 23), (None, 96, 9), (None, 32, 3), (None, 16, 1), (13, 224, 13), (13, 6, 11),
     (13, 1, 1)],
)  # fmt: skip
def test_blur_taps(kernel_px: int | None, size_px: int, taps: int) -> None:
    """A tenth of the side made odd, or the policy's number, and never more than 2 S - 1."""
    assert kernel_taps(ViewPolicy(scale=(1, 1), kernel_px=kernel_px), size_px) == taps


def test_views_of_a_group_take_its_policies_in_turn() -> None:
    """BYOL's even global views are always blurred and never solarized, odd ones the reverse."""
    plan = draw(load_policy("byol").with_views((4, 2)))
    assert (plan.sigma[:, [0, 2]] > 0).all()
    assert (plan.solarize[:, [0, 2]] == NO_SOLARIZE).all()
    assert (plan.sigma[:, [1, 3]] > 0).mean() < 0.25
    assert (plan.solarize[:, [1, 3]] == 0.5).any()
    assert plan.group.tolist() == [0, 0, 0, 0, 1, 1]
    assert plan.size_px.tolist() == [224] * 4 + [96] * 2


def test_no_images_give_an_empty_plan() -> None:
    """A batch of none is a plan of none."""
    assert draw(rows=slice(0)).batch_size == 0


def test_a_wrong_seed_is_named() -> None:
    """A seed outside 64 bits is a usage error."""
    with pytest.raises(UsageError, match="got -1"):
        draw(seed=-1)


def test_rows_that_do_not_belong_together_are_named() -> None:
    """One id, one epoch and one size an image."""
    with pytest.raises(
        ValueError, match=r"one row an image, got shapes \(1,\), \(2,\) and \(2, 2\)"
    ):
        draw_plan(POLICY, IDS[:1], EPOCHS[:2], SIZES[:2], seed=0)


def test_mean_std_and_interpolation_pass_through() -> None:
    """What is not drawn comes from the policy unchanged."""
    policy = replace(load_policy("dino"), mean=(0.1, 0.2, 0.3))
    plan = draw(policy)
    assert plan.bicubic.all()
    assert (plan.mean, plan.std) == ((0.1, 0.2, 0.3), policy.std)
