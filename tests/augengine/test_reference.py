"""The reference against torchvision's stored results, torch, and its own definitions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from augengine import reference
from augengine.draw import draw_plan
from augengine.plain import colour_ops
from augengine.plan import BRIGHTNESS, CONTRAST, HUE, ORDERS, SATURATION, Plan
from augengine.policy import CropGroup, Policy, ViewPolicy

EXPECTED = np.load(Path(__file__).parent / "data" / "torchvision_expected.npz")
CASES = json.loads(str(EXPECTED["cases"]))
TORCHVISION_GRAY = (0.2989, 0.587, 0.114)
# The stored results are rounded to 2^-18 (error 1.9e-6); the rest is float32 arithmetic.
ROUNDING = 5e-6
# Our gray weights sum to 1, torchvision's to .9999: up to 1e-4 in gray, times |1 - factor| <= .7.
GRAY_WEIGHTS = 1.2e-4


@pytest.mark.parametrize("i", range(len(CASES)), ids=lambda i: f"{CASES[i]['op']}-{i}")
def test_op_is_torchvisions(i: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every op equals torchvision's on floats; what differs in gray is the weights and no more."""
    case = CASES[i]
    x = reference.crop(EXPECTED[case["image"]], np.array(case["box"]))
    home = colour_ops if hasattr(colour_ops, case["op"]) else reference
    op = getattr(home, case["op"])
    result = op(x, **case["arguments"])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, EXPECTED[f"result_{i}"], rtol=0, atol=GRAY_WEIGHTS)
    monkeypatch.setattr(colour_ops, "GRAY_WEIGHTS", TORCHVISION_GRAY)
    result = op(x, **case["arguments"])
    np.testing.assert_allclose(result, EXPECTED[f"result_{i}"], rtol=0, atol=ROUNDING)


def test_every_op_was_compared() -> None:
    """The stored cases cover each op that torchvision has too."""
    ops = {"resize", "adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_hue"}
    ops |= {"to_gray", "gaussian_blur", "solarize", "normalize"}
    assert {case["op"] for case in CASES} == ops


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize(
    ("height", "width", "size_px"),
    [(301, 200, 96), (37, 50, 96), (5, 3, 28), (1, 7, 4), (1, 1, 3), (64, 64, 64), (400, 2, 1)],
)
def test_resize_is_torchs(height: int, width: int, size_px: int, bicubic: bool) -> None:
    """Any window, growing or shrinking, resizes as torch's antialiased interpolate, clamped."""
    x = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
    expected = torch.nn.functional.interpolate(
        torch.tensor(x).permute(2, 0, 1)[None],
        size=(size_px, size_px),
        mode="bicubic" if bicubic else "bilinear",
        antialias=True,
        align_corners=False,
    )
    expected = expected.clamp(0, 1)[0].permute(1, 2, 0).numpy()
    ours = reference.resize(x, size_px, bicubic=bicubic)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("bicubic", [False, True])
def test_resize_weights_sum_to_one(bicubic: bool) -> None:
    """A constant image stays constant, at the edges too."""
    for in_px, out_px in ((1, 9), (9, 1), (7, 20), (500, 224), (224, 224)):
        weights = reference.resize_weights(in_px, out_px, bicubic=bicubic)
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=0, atol=1e-12)
        np.testing.assert_allclose(weights, weights[::-1, ::-1], rtol=0, atol=1e-12)


def test_resize_to_the_same_size_changes_nothing() -> None:
    """Half-pixel centres of equal grids coincide."""
    x = np.random.default_rng(1).random((13, 13, 3), dtype=np.float32)
    for bicubic in (False, True):
        np.testing.assert_array_equal(reference.resize(x, 13, bicubic=bicubic), x)


def test_hsv_goes_there_and_back() -> None:
    """HSV loses nothing, gray and black included, and a full turn is no turn."""
    x = np.random.default_rng(2).random((9, 9, 3), dtype=np.float32)
    x[0], x[1], x[2] = 0, x[1, :, :1], np.eye(3)[np.arange(9) % 3]
    back = colour_ops.hsv_to_rgb(colour_ops.rgb_to_hsv(x))
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(colour_ops.adjust_hue(x, 1.0), x, rtol=0, atol=1e-6)


def test_blur_keeps_constants_and_refuses_impossible_borders() -> None:
    """The taps sum to 1; a reflection further than the image is our own mistake."""
    x = np.full((7, 9, 3), 0.3, np.float32)
    np.testing.assert_allclose(reference.gaussian_blur(x, 13, 2.0), x, rtol=0, atol=1e-7)
    with pytest.raises(AssertionError, match="no reflection of 7 pixels"):
        reference.gaussian_blur(x, 15, 2.0)


@pytest.fixture
def image() -> np.ndarray:
    return EXPECTED["coffee"]


def plan_of(image: np.ndarray, **changes: object) -> Plan:
    """One view of 24 px of the whole image, with nothing done to it but `changes`."""
    policy = Policy("plain", (CropGroup(1, 24, (ViewPolicy(scale=(1, 1), kernel_px=7, flip=0),)),))
    plan = draw_plan(policy, np.array([0]), np.array([0]), np.array([image.shape[:2]]), seed=0)
    arrays = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    for name, value in changes.items():
        arrays[name] = np.asarray(value).reshape(arrays[name].shape)
    return Plan(**arrays)


@pytest.mark.parametrize("order", range(24))
def test_render_runs_the_ops_in_the_plans_order(image: np.ndarray, order: int) -> None:
    """A rendered view is its ops one after the other, the four colour ops by row of ORDERS."""
    plan = plan_of(
        image,
        window=(5, 7, 30, 41), flip=True, brightness=1.3, contrast=0.6, saturation=1.6, hue=0.11,
        order=order, sigma=1.2, solarize=0.5,
    )  # fmt: skip
    adjust = {
        BRIGHTNESS: lambda x: colour_ops.adjust_brightness(x, float(np.float32(1.3))),
        CONTRAST: lambda x: colour_ops.adjust_contrast(x, float(np.float32(0.6))),
        SATURATION: lambda x: colour_ops.adjust_saturation(x, float(np.float32(1.6))),
        HUE: lambda x: colour_ops.adjust_hue(x, float(np.float32(0.11))),
    }
    x = image[5:35, 7:48].astype(np.float32) / 255
    x = reference.resize(x, 24)[:, ::-1]
    for op in ORDERS[order]:
        x = adjust[int(op)](x)
    x = colour_ops.solarize(reference.gaussian_blur(x, 7, float(np.float32(1.2))), 0.5)
    x = colour_ops.normalize(x, plan.mean, plan.std)
    np.testing.assert_array_equal(reference.render(image, plan, 0, 0), x.transpose(2, 0, 1))


def test_the_order_of_colour_ops_shows(image: np.ndarray) -> None:
    """The 24 orders are not all the same picture."""
    views = [
        reference.render(
            image,
            plan_of(image, brightness=1.6, contrast=0.5, hue=0.2, saturation=1.8, order=o),
            0,
            0,
        )
        for o in (0, 23)
    ]
    assert np.abs(views[0] - views[1]).max() > 0.05


def test_neutral_values_do_nothing(image: np.ndarray) -> None:
    """A plan with no op is resize and normalise only."""
    plan = plan_of(image)
    expected = reference.resize(image.astype(np.float32) / 255, 24)
    expected = colour_ops.normalize(expected, plan.mean, plan.std).transpose(2, 0, 1)
    np.testing.assert_array_equal(reference.render(image, plan, 0, 0), expected)


def test_gray_is_gray(image: np.ndarray) -> None:
    """The three channels of a gray view are equal before normalisation."""
    plan = plan_of(image, gray=True)
    pixels = reference.render(image, plan, 0, 0) * np.array(plan.std)[:, None, None]
    pixels += np.array(plan.mean)[:, None, None]
    np.testing.assert_allclose(pixels[0], pixels[2], rtol=0, atol=1e-6)


def test_solarize_inverts_from_the_threshold_on() -> None:
    """The threshold itself is inverted, as PIL does at level 128."""
    levels = np.array([127, 128, 129], np.uint8).reshape(1, 3, 1).repeat(3, axis=2)
    x = reference.crop(levels, np.array([0, 0, 1, 3]))
    result = colour_ops.solarize(x, 128 / 255)[0, :, 0] * 255
    np.testing.assert_allclose(result, [127, 127, 126], atol=1e-4)


def test_another_image_is_refused(image: np.ndarray) -> None:
    """An image that is not the one the plan was drawn for is named, not resized."""
    with pytest.raises(ValueError, match=r"uint8 of \[48, 64\] pixels, got uint8 \[48, 63, 3\]"):
        reference.render(image[:, 1:], plan_of(image), 0, 0)
