"""The meaning of a plan: slow, obvious numpy that every backend is held against.

One public function an operation, in the order `render` runs them: background, crop, antialiased
resize, flips, turn, the four colour ops in the plan's order with a clamp after each, gray, blur,
solarize, normalise. It draws nothing and imports no torch. The arithmetic is torchvision's on float
tensors (docs/plan.md has the formulas, tests/augengine/test_reference.py the comparison), with gray
weights .299/.587/.114.

Images are [H, W, 3] float32 in [0, 1] in and out; inside, everything is float64.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from augengine.backgrounds.meaning import background_of, replace_background
from augengine.plan import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    KEPT,
    NO_SOLARIZE,
    ORDERS,
    PASTED,
    SATURATION,
    Plan,
)

GRAY_WEIGHTS = (0.299, 0.587, 0.114)
# Pillow's and torch's cubic when antialiasing; torch has -0.75 without antialiasing.
BICUBIC_A = -0.5


# Its mask may be anything where no background changes.
Masked = tuple[np.ndarray, np.ndarray]  # image [H, W, 3] uint8, mask [H, W] uint8


def render(
    image: np.ndarray,
    plan: Plan,
    b: int,
    v: int,
    mask: np.ndarray | None = None,
    donor: Masked | None = None,
) -> np.ndarray:
    """View `v` of image `b` of the plan: [3, S, S] float32, normalised.

    `image` is the decoded, upright image, [H, W, 3] uint8; ValueError when it has another size
    than the plan says. Its mask is needed where its background changes, and the donor's image and
    mask where it is pasted.
    """
    if image.dtype != np.uint8 or image.shape != (*plan.image_sizes[b].tolist(), 3):
        raise ValueError(
            f"image {b} of the plan is [H, W, 3] uint8 of {plan.image_sizes[b].tolist()} pixels, "
            f"got {image.dtype} {list(image.shape)}; pass the upright image the plan was drawn for"
        )
    if plan.background[b, v] != KEPT:
        assert mask is not None, "another background needs a mask"
        behind = np.broadcast_to(plan.fill[b, v], image.shape)
        if plan.background[b, v] == PASTED:
            assert donor is not None, "a pasted background needs its donor"
            behind = background_of(*donor, *image.shape[:2])
        image = replace_background(image, mask, behind)
    x = resize(crop(image, plan.window[b, v]), int(plan.size_px[v]), bicubic=bool(plan.bicubic[v]))
    # Flipping the result or the window is the same: the resize is symmetric.
    if plan.flip[b, v]:
        x = flip(x)
    x = turn(x, is_flipped=bool(plan.vflip[b, v]), quarter_turns=int(plan.quarter_turns[b, v]))
    x = _adjust_colours(x, plan, b, v)
    if plan.gray[b, v]:
        x = to_gray(x)
    if plan.sigma[b, v] > 0:
        x = gaussian_blur(x, int(plan.kernel_px[v]), float(plan.sigma[b, v]))
    if plan.solarize[b, v] < NO_SOLARIZE:
        x = solarize(x, float(plan.solarize[b, v]))
    return np.ascontiguousarray(normalize(x, plan.mean, plan.std).transpose(2, 0, 1))


def render_of(images: Sequence[Masked], plan: Plan, b: int, v: int) -> np.ndarray:
    """The same from the images and masks of the whole plan, among which the donor is found."""
    donor = None
    if plan.background[b, v] == PASTED:
        donor = images[int(np.flatnonzero(plan.ids == plan.donor[b, v])[0])]
    return render(images[b][0], plan, b, v, images[b][1], donor)


def crop(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The window (top, left, height, width) of a uint8 image as float32 in [0, 1]."""
    top, left, height, width = (int(side) for side in window)
    return image[top : top + height, left : left + width].astype(np.float32) / np.float32(255)


def resize(x: np.ndarray, size_px: int, *, bicubic: bool = False) -> np.ndarray:
    """Antialiased separable resize of [H, W, 3] to [S, S, 3], half-pixel centres, clamped.

    Pixels outside `x` do not exist: the weights that remain at an edge are scaled to sum to 1.
    """
    rows = resize_weights(x.shape[0], size_px, bicubic=bicubic)
    columns = resize_weights(x.shape[1], size_px, bicubic=bicubic)
    y = np.einsum("ph,hwc->pwc", rows, x.astype(np.float64), optimize=True)
    return _clamp(np.einsum("qw,pwc->pqc", columns, y, optimize=True))


def resize_weights(in_px: int, out_px: int, *, bicubic: bool = False) -> np.ndarray:
    """The [out_px, in_px] float64 matrix of one direction; each row sums to 1.

    Output pixel i is centred at (i + .5) * in_px / out_px in input pixels, input pixel j at j + .5;
    the kernel is stretched by the scale when the image shrinks and never narrowed when it grows.
    """
    # A dense matrix: the few weights that are not zero are exactly those inside torch's window.
    scale = in_px / out_px
    centres = (np.arange(out_px) + 0.5) * scale
    distance = (np.arange(in_px) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = _cubic(np.abs(distance)) if bicubic else np.maximum(0, 1 - np.abs(distance))
    return weights / weights.sum(axis=1, keepdims=True)


def flip(x: np.ndarray) -> np.ndarray:
    """Mirror left-right."""
    return x[:, ::-1]


def turn(x: np.ndarray, *, is_flipped: bool, quarter_turns: int) -> np.ndarray:
    """Mirror top-bottom, then turn counter-clockwise by 90 degrees so many times; exact."""
    return np.rot90(x[::-1] if is_flipped else x, quarter_turns)


def adjust_brightness(x: np.ndarray, factor: float) -> np.ndarray:
    """`x * factor`, clamped."""
    return _clamp(x.astype(np.float64) * factor)


def adjust_contrast(x: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the mean of the gray image: `x * factor + mean * (1 - factor)`, clamped."""
    mean = gray_of(x).mean()
    return _clamp(x.astype(np.float64) * factor + mean * (1 - factor))


def adjust_saturation(x: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the gray image: `x * factor + gray * (1 - factor)`, clamped."""
    return _clamp(x.astype(np.float64) * factor + gray_of(x)[..., None] * (1 - factor))


def adjust_hue(x: np.ndarray, turns: float) -> np.ndarray:
    """Turn the hue in HSV by `turns` (1 is the full circle), clamped."""
    hue, saturation, value = np.moveaxis(rgb_to_hsv(x), -1, 0)
    return _clamp(hsv_to_rgb(np.stack([(hue + turns) % 1.0, saturation, value], axis=-1)))


def gray_of(x: np.ndarray) -> np.ndarray:
    """The [H, W] float64 gray image, weights .299/.587/.114."""
    return x.astype(np.float64) @ np.array(GRAY_WEIGHTS)


def to_gray(x: np.ndarray) -> np.ndarray:
    """The gray image in all three channels."""
    return _clamp(np.repeat(gray_of(x)[..., None], 3, axis=-1))


def gaussian_blur(x: np.ndarray, kernel_px: int, sigma: float) -> np.ndarray:
    """Separable blur with `kernel_px` taps, reflected at the border without repeating the edge.

    The weights are `exp(-t^2 / (2 sigma^2))` at whole pixels, scaled to sum to 1.
    """
    radius = kernel_px // 2
    assert kernel_px % 2 == 1, f"kernel_px must be odd, got {kernel_px}"
    assert radius <= min(x.shape[:2]) - 1, f"no reflection of {radius} pixels in {x.shape}"
    # At whole pixels, not integrated over them: so do torchvision, SimCLR, BYOL and DALI.
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    y = x.astype(np.float64)
    for axis in (0, 1):
        padding = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        windows = sliding_window_view(np.pad(y, padding, mode="reflect"), kernel_px, axis=axis)
        y = windows @ taps
    return _clamp(y)


def solarize(x: np.ndarray, threshold: float) -> np.ndarray:
    """Invert the values that reach the threshold: `1 - x` where `x >= threshold`."""
    return np.where(x >= np.float32(threshold), np.float32(1) - x, x).astype(np.float32)


def normalize(
    x: np.ndarray, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> np.ndarray:
    """`(x - mean) / std` per channel; the only step whose result leaves [0, 1]."""
    return ((x.astype(np.float64) - np.array(mean)) / np.array(std)).astype(np.float32)


def rgb_to_hsv(x: np.ndarray) -> np.ndarray:
    """Hue in turns [0, 1), saturation and value in [0, 1]: [H, W, 3] float64. Gray has hue 0."""
    red, green, blue = np.moveaxis(x.astype(np.float64), -1, 0)
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    # Gray pixels have no hue; a divisor of 1 gives them 0 and saturation 0 keeps them gray.
    divisor = np.where(chroma == 0, 1.0, chroma)
    sector = np.where(
        value == red,
        (green - blue) / divisor,
        np.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    saturation = chroma / np.where(value == 0, 1.0, value)
    return np.stack([(sector / 6) % 1.0, saturation, value], axis=-1)


def hsv_to_rgb(hsv: np.ndarray) -> np.ndarray:
    """The inverse of `rgb_to_hsv`: [H, W, 3] float64."""
    hue, saturation, value = np.moveaxis(hsv.astype(np.float64), -1, 0)
    sector = np.floor(hue * 6)
    fraction = hue * 6 - sector
    low = value * (1 - saturation)
    falling = value * (1 - saturation * fraction)
    rising = value * (1 - saturation * (1 - fraction))
    # A hue just below 1 may round up to 1, which is sector 6: red again.
    index = sector.astype(np.int64) % 6
    red = np.choose(index, [value, falling, low, low, rising, value])
    green = np.choose(index, [rising, value, value, falling, low, low])
    blue = np.choose(index, [low, low, rising, value, value, falling])
    return np.stack([red, green, blue], axis=-1)


def _adjust_colours(x: np.ndarray, plan: Plan, b: int, v: int) -> np.ndarray:
    """The four colour ops in the plan's order; a neutral value skips its op."""
    ops = {
        BRIGHTNESS: (adjust_brightness, plan.brightness[b, v], 1.0),
        CONTRAST: (adjust_contrast, plan.contrast[b, v], 1.0),
        SATURATION: (adjust_saturation, plan.saturation[b, v], 1.0),
        HUE: (adjust_hue, plan.hue[b, v], 0.0),
    }
    for number in ORDERS[plan.order[b, v]]:
        adjust, amount, neutral = ops[int(number)]
        if amount != neutral:
            x = adjust(x, float(amount))
    return x


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel of |distance|, zero from 2 on."""
    a, d = BICUBIC_A, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = (((d - 5) * d + 8) * d - 4) * a
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def _clamp(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 1).astype(np.float32)
