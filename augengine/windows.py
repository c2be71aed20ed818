"""From uniform numbers to crop windows: the published rules, each a pure function.

`draw.py` draws the numbers and picks the rule of each view's policy. Window and position are apart:
a rule gives sides, and the sides that fit are placed once.

    torchvision  the first of ten tries of area and log-ratio that fits, else the centre
    byol         one try, its sides cut to the image's: no large area is dropped
    simclr       TensorFlow's sample_distorted_bounding_box with the whole image as the box: ratio,
                 then height; the first of a hundred tries of a tenth of the image or more, else all

Sources: torchvision RandomResizedCrop; google-deepmind/deepmind-research byol/utils/dataset.py;
google-research/simclr data_util.py and tensorflow sample_distorted_bounding_box_op.cc, in float64
where theirs is float32.

Legend: B images, V views, T tries.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from augengine.policy import CROPS, LEAST_COVERED

Windows = tuple[np.ndarray, np.ndarray]  # [B, V, 4] top, left, height, width; [B, V] a try fits


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers that a rule makes windows of."""

    tries: np.ndarray  # [B, V, 2 T] float64 in [0, 1) - two a try
    position: np.ndarray  # [B, V, 2] float64 in [0, 1) - down, across
    height: np.ndarray  # [B, 1, 1] int64 - of the image
    width: np.ndarray  # [B, 1, 1] int64
    scale: np.ndarray  # [2, V, 1] float64 - bounds of the share of the area
    ratio: np.ndarray  # [2, V, 1] float64 - bounds of width / height


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and the tries it has, of which it may be given fewer at first."""

    num_tries: int
    windows: Callable[[Numbers], Windows]


def _torchvision(numbers: Numbers) -> Windows:
    """Tries that do not fit are dropped, so large areas are rarer than U(scale) says."""
    heights, widths = _sides(numbers)
    fits = (widths > 0) & (widths <= numbers.width) & (heights > 0) & (heights <= numbers.height)
    found = np.asarray(fits.any(axis=-1))
    drawn = _placed(numbers, *_first(fits, heights, widths), last=1)
    return np.where(found[..., None], drawn, _centred(numbers)), found


def _byol(numbers: Numbers) -> Windows:
    heights, widths = _sides(numbers)
    # At least a pixel, of which the code does not think: a thin image can round to none.
    height = np.clip(heights[..., 0], 1, numbers.height[..., 0])
    width = np.clip(widths[..., 0], 1, numbers.width[..., 0])
    return _placed(numbers, height, width, last=1), np.ones(height.shape, bool)


def _simclr(numbers: Numbers) -> Windows:
    """A ratio, not its logarithm, is uniform; so is the height, not the area, where it can be."""
    area = numbers.height * numbers.width
    least, most = (bound * area for bound in numbers.scale)  # [B, V, 1]
    low, high = numbers.ratio
    ratio = low + numbers.tries[..., 0::2] * (high - low)  # [B, V, T]
    shortest, tallest = (np.rint(np.sqrt(bound / ratio)) for bound in (least, most))
    widest = np.floor((numbers.width + 0.5 - 1e-7) / ratio)  # the height that is as wide as it can
    widest -= np.rint(widest * ratio) > numbers.width
    tallest = np.where(np.rint(tallest * ratio) > numbers.width, widest, tallest)
    tallest = np.minimum(tallest, numbers.height)
    shortest = np.minimum(shortest, tallest)
    heights = shortest + np.floor(numbers.tries[..., 1::2] * (tallest - shortest + 1))
    # Rounding may leave the area just outside its bounds: one row more, or one less.
    heights += heights * np.rint(heights * ratio) < least
    heights -= heights * np.rint(heights * ratio) > most
    widths = np.rint(heights * ratio)
    areas = heights * widths
    # To a row and a column, or a range like [0.5, 0.5], which the op refuses, would give the whole
    # image; at SimCLR's [0.08, 1] neither bound decides.
    fits = ((heights + 1) * (widths + 1) >= least) & ((heights - 1) * (widths - 1) <= most)
    fits &= (areas >= LEAST_COVERED * area) & (areas > 0)
    fits &= (widths <= numbers.width) & (heights <= numbers.height)
    found = fits.any(axis=-1)
    # The op never reaches the last place.
    drawn = _placed(numbers, *_first(fits, heights, widths), last=0)
    whole = np.concatenate([0 * area, 0 * area, numbers.height, numbers.width], -1)  # [B, 1, 4]
    return np.where(found[..., None], drawn, whole), found


RULES = {
    "torchvision": Rule(10, _torchvision),
    "byol": Rule(1, _byol),
    "simclr": Rule(100, _simclr),
}
assert tuple(RULES) == CROPS


def _sides(numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Height and width of every try, [B, V, T]: area ~ U(scale), log-ratio ~ U(log ratio)."""
    low, high = numbers.scale
    share = low + numbers.tries[..., 0::2] * (high - low)
    low, high = np.log(numbers.ratio)
    ratio = np.exp(low + numbers.tries[..., 1::2] * (high - low))
    area = share * (numbers.height * numbers.width)
    # rint rounds half to even, as Python's round.
    return np.rint(np.sqrt(area / ratio)), np.rint(np.sqrt(area * ratio))


def _first(
    fits: np.ndarray,  # [B, V, T] bool
    *values: np.ndarray,  # [B, V, T] each
) -> list[np.ndarray]:
    """[B, V] each: the values of the first try that fits; where none does, of the first."""
    first = fits.argmax(axis=-1)[..., None]  # of booleans: the first true, or 0
    return [np.take_along_axis(value, first, axis=-1)[..., 0] for value in values]


def _placed(numbers: Numbers, height: np.ndarray, width: np.ndarray, *, last: int) -> np.ndarray:
    """[B, V, 4]: uniform over the places, but for the last one where `last` is 0."""
    down, across = np.moveaxis(numbers.position, -1, 0)
    top = np.floor(down * (numbers.height[..., 0] - height + last))
    left = np.floor(across * (numbers.width[..., 0] - width + last))
    return np.stack([top, left, height, width], axis=-1)


def _centred(numbers: Numbers) -> np.ndarray:
    """[B, V, 4]: the whole image, cut to the nearest allowed ratio, in the centre."""
    low, high = numbers.ratio[..., 0]
    image_height, image_width = numbers.height[..., 0], numbers.width[..., 0]
    image_ratio = image_width / image_height
    # At least one pixel: a ratio above 2 or below 1/2 can round a side of a thin image to none.
    height = np.where(image_ratio < low, np.maximum(1, np.rint(image_width / low)), image_height)
    width = np.where(image_ratio > high, np.maximum(1, np.rint(image_height * high)), image_width)
    return np.stack([(image_height - height) // 2, (image_width - width) // 2, height, width], -1)
