"""The meaning of a plan: slow, obvious numpy that every backend is held against.

One public function an operation, those of colours in plain/colour_ops.py, in the order `render`
runs them: background, crop, antialiased resize, flips, turn, the four colour ops in the plan's
order with a clamp after each, gray, blur, solarize, normalise. It draws nothing and imports no
torch. The arithmetic is torchvision's on float tensors (docs/plan.md has the formulas,
tests/augengine/test_reference.py the comparison), with gray weights .299/.587/.114.

Images are [H, W, 3] float32 in [0, 1] in and out; inside, everything is float64.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from augengine.backgrounds.meaning import background_of, replace_background
from augengine.heavy.plain_ops import make_heavy
from augengine.plain.colour_ops import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    clamp,
    normalize,
    solarize,
    to_gray,
)
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
    return _finished(_pixels(image, plan, b, v, mask, donor), plan)


def render_heavy(
    image: np.ndarray,
    plan: Plan,
    b: int,
    h: int,
    mask: np.ndarray | None = None,
    donor: Masked | None = None,
) -> np.ndarray:
    """Heavy view `h` of image `b` of the plan, as `render`; the plan has heavy views."""
    assert plan.heavy is not None
    source = _pixels(image, plan, b, int(plan.heavy.source[h]), mask, donor)
    return _finished(make_heavy(source, plan.heavy, b, h), plan)


def _finished(x: np.ndarray, plan: Plan) -> np.ndarray:
    return np.ascontiguousarray(normalize(x, plan.mean, plan.std).transpose(2, 0, 1))


def _pixels(
    image: np.ndarray,
    plan: Plan,
    b: int,
    v: int,
    mask: np.ndarray | None,
    donor: Masked | None,
) -> np.ndarray:
    """View `v` of image `b`, [S, S, 3] float32 in [0, 1]: all but its normalisation."""
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
    return x


def render_of(images: Sequence[Masked], plan: Plan, b: int, v: int) -> np.ndarray:
    """The same from the images and masks of the whole plan, among which the donor is found."""
    return render(images[b][0], plan, b, v, images[b][1], _donor_of(images, plan, b, v))


def render_heavy_of(images: Sequence[Masked], plan: Plan, b: int, h: int) -> np.ndarray:
    """Heavy view `h`, likewise."""
    assert plan.heavy is not None
    donor = _donor_of(images, plan, b, int(plan.heavy.source[h]))
    return render_heavy(images[b][0], plan, b, h, images[b][1], donor)


def _donor_of(images: Sequence[Masked], plan: Plan, b: int, v: int) -> Masked | None:
    if plan.background[b, v] != PASTED:
        return None
    return images[int(np.flatnonzero(plan.ids == plan.donor[b, v])[0])]


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
    return clamp(np.einsum("qw,pwc->pqc", columns, y, optimize=True))


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
    return clamp(y)


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
