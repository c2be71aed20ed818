"""The meaning of every op of a heavy view: slow, obvious numpy on [H, W, 3] uint8.

PIL's own definitions, to the level, as Yif-Yang/DSSL calls them
(tests/augengine/heavy/test_plain_ops.py holds them side by side). What comes from outside the view
is black, and the nearest pixel is taken.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from augengine.heavy.heavy_ops import CUTOUT_COLOUR, NAMES
from augengine.heavy.heavy_plan import HeavyPlan
from augengine.plain.colour_ops import clamp

Place = tuple[float, float]
_FIXED = 1 << 16  # PIL finds its pixels in whole numbers of 2^-16


def make_heavy(x: np.ndarray, heavy: HeavyPlan, b: int, h: int) -> np.ndarray:
    """RandAugment's ops on the nearest levels of 0 to 255, if there is one, and tiles moved."""
    if heavy.ops[b, h].any():
        levels = np.floor(clamp(x) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        for n, op in enumerate(heavy.ops[b, h].tolist()):
            across, down = heavy.places[b, h, n].tolist()
            levels = apply_op(levels, op, float(heavy.amounts[b, h, n]), (across, down))
        x = levels.astype(np.float32) / np.float32(255)
    return shuffle_tiles(x, heavy.tiles[b, h]) if heavy.is_shuffled[b, h] else x


def apply_op(x: np.ndarray, op: int, amount: float, place: Place) -> np.ndarray:
    """One op by its number in a plan; 0 is none."""
    if not op:
        return x
    name = NAMES[op]
    if name == "cutout":
        return cutout(x, amount, place)
    return _OPS[name](x, amount)


def auto_contrast(x: np.ndarray, _: float) -> np.ndarray:
    """Each channel stretched from its darkest to its lightest level over 0 to 255."""
    y = x.copy()
    for c in range(3):
        low, high = int(x[..., c].min()), int(x[..., c].max())
        if high > low:
            scale = 255.0 / (high - low)
            table = [min(255, max(0, int(level * scale + -low * scale))) for level in range(256)]
            y[..., c] = np.array(table, np.uint8)[x[..., c]]
    return y


def equalize(x: np.ndarray, _: float) -> np.ndarray:
    """Each channel by the share of its pixels that are darker; PIL's rounding."""
    y = x.copy()
    for c in range(3):
        histogram = np.bincount(x[..., c].ravel(), minlength=256)
        there = histogram[histogram > 0]
        step = int(there.sum() - there[-1]) // 255
        if len(there) > 1 and step:
            darker = np.cumsum(histogram) - histogram
            y[..., c] = np.minimum(255, (step // 2 + darker) // step).astype(np.uint8)[x[..., c]]
    return y


def invert(x: np.ndarray, _: float) -> np.ndarray:
    """255 less the level."""
    return 255 - x


def posterize(x: np.ndarray, bits: float) -> np.ndarray:
    """The highest bits alone, at least one."""
    return x & np.uint8(256 - 2 ** (8 - max(1, int(bits))))


def solarize(x: np.ndarray, threshold: float) -> np.ndarray:
    """Levels from the threshold on inverted."""
    return np.where(x < threshold, x, 255 - x)


def solarize_add(x: np.ndarray, levels: float) -> np.ndarray:
    """Lighter by so many levels, then solarize at 128."""
    return solarize(np.clip(x + float(levels), 0, 255).astype(np.uint8), 128)


def color(x: np.ndarray, factor: float) -> np.ndarray:
    """Away from the gray image by a factor."""
    return blend(np.repeat(gray_levels(x)[..., None], 3, axis=-1), x, factor)


def contrast(x: np.ndarray, factor: float) -> np.ndarray:
    """Away from the mean of the gray image, in whole levels."""
    return blend(np.full_like(x, int(gray_levels(x).mean(dtype=np.float64) + 0.5)), x, factor)


def brightness(x: np.ndarray, factor: float) -> np.ndarray:
    """Away from black."""
    return blend(np.zeros_like(x), x, factor)


def sharpness(x: np.ndarray, factor: float) -> np.ndarray:
    """Away from a mean of 3 x 3 pixels, the middle one fivefold; the border has none."""
    wide = x.astype(np.int64)
    height, width = x.shape[:2]
    smooth = x.copy()
    if min(height, width) > 2:
        total = 4 * wide[1:-1, 1:-1]
        for down in range(3):
            for across in range(3):
                total = total + wide[down : down + height - 2, across : across + width - 2]
        smooth[1:-1, 1:-1] = (2 * total + 13) // 26  # 13 weights, rounded to the nearest level
    return blend(smooth, x, factor)


def gray_levels(x: np.ndarray) -> np.ndarray:
    """[H, W] uint8: PIL's mode L."""
    red, green, blue = np.moveaxis(x.astype(np.int64), -1, 0)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)


def blend(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """The sum first + share (second - first) in float32, cut to 0 to 255 and to whole levels."""
    difference = second.astype(np.float32) - first.astype(np.float32)
    mixed = first.astype(np.float32) + np.float32(share) * difference
    return np.clip(mixed, 0, 255).astype(np.uint8)


def cutout(x: np.ndarray, side: float, place: Place) -> np.ndarray:
    """A gray square; its far edges are drawn too, and its middle lies in [1, side of the view)."""
    y, size = x.copy(), x.shape[0]
    left, top = (int(max(0.0, middle(p, size) - side / 2)) for p in place)
    right, bottom = (int(min(float(size), edge + side)) for edge in (left, top))
    y[top : bottom + 1, left : right + 1] = CUTOUT_COLOUR
    return y


def middle(place: Any, size: int) -> Any:
    """Of cutouts in pixels: np.random.uniform(size), which the code calls, is of [1, size)."""
    return 1 + place * (size - 1)


def moved(x: np.ndarray, coefficients: tuple[int, ...]) -> np.ndarray:
    """The pixel that each one shows, by `fixed_coefficients`."""
    a0, a1, a2, a3, a4, a5 = coefficients
    height, width = x.shape[:2]
    y = np.zeros_like(x)
    for row in range(height):
        for column in range(width):
            across = (a2 + a0 * column + a1 * row) >> 16
            down = (a5 + a3 * column + a4 * row) >> 16
            if 0 <= across < width and 0 <= down < height:
                y[row, column] = x[down, across]
    return y


def fixed_coefficients(name: str, amount: float, size: int) -> tuple[int, ...]:
    """Where (column, row) comes from, in 2^-16: a0 column + a1 row + a2, and likewise down."""
    if name in ("translate_x", "translate_y"):
        # Whole pixels: PIL has a way of its own for what is only moved.
        shift = math.floor(amount + 0.5) * _FIXED
        return (_FIXED, 0, shift, 0, _FIXED, 0) if name == "translate_x" else (
            _FIXED, 0, 0, 0, _FIXED, shift
        )  # fmt: skip
    a = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    if name == "shear_x":
        a[1] = amount
    elif name == "shear_y":
        a[3] = amount
    elif amount % 360.0:
        angle = -math.radians(amount % 360.0)
        a[0] = a[4] = round(math.cos(angle), 15)
        a[1], a[3] = round(math.sin(angle), 15), round(-math.sin(angle), 15)
        centre = size / 2
        a[2] = a[0] * -centre + a[1] * -centre + 0.0 + centre
        a[5] = a[3] * -centre + a[4] * -centre + 0.0 + centre
    a[2] += a[0] * 0.5 + a[1] * 0.5
    a[5] += a[3] * 0.5 + a[4] * 0.5
    return tuple(math.floor(value * _FIXED + 0.5) for value in a)


def shuffle_tiles(x: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    """A square of pixels of any kind with its tiles in another order."""
    grid = math.isqrt(len(tiles))
    side, y = x.shape[0] // grid, x.copy()
    for place, tile in enumerate(tiles.tolist()):
        (down, across), (from_down, from_across) = divmod(place, grid), divmod(tile, grid)
        y[down * side : (down + 1) * side, across * side : (across + 1) * side] = x[
            from_down * side : (from_down + 1) * side, from_across * side : (from_across + 1) * side
        ]
    return y


def _mover(name: str) -> Callable[[np.ndarray, float], np.ndarray]:
    return lambda x, amount: moved(x, fixed_coefficients(name, amount, x.shape[0]))


_OPS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "auto_contrast": auto_contrast,
    "equalize": equalize,
    "invert": invert,
    "posterize": posterize,
    "solarize": solarize,
    "solarize_add": solarize_add,
    "color": color,
    "contrast": contrast,
    "brightness": brightness,
    "sharpness": sharpness,
    **{
        name: _mover(name)
        for name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
    },
}
