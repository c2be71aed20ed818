"""Views on which ops are compared: a photograph, noise, few levels, one level; and PIL's ops."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from skimage import data

from augengine.heavy.heavy_ops import CUTOUT_COLOUR

# Magnitudes of 30: nothing, DSSL's, its harder one's and the most, and two between.
MAGNITUDES = (0.0, 3.7, 9.0, 16.0, 23.3, 30.0)
SIDES = (2, 7, 32, 45)


def views(side: int) -> list[np.ndarray]:
    """[S, S, 3] uint8 each."""
    rng = np.random.default_rng(side)
    photograph = np.asarray(Image.fromarray(data.astronaut()).resize((side, side)))
    few = rng.choice(np.array([3, 90, 91, 255], np.uint8), (side, side, 3))
    dull = rng.integers(100, 130, (side, side, 3), dtype=np.uint8)
    flat = np.full((side, side, 3), 77, np.uint8)
    mixed = np.stack([flat[..., 0], dull[..., 0], few[..., 0]], -1)
    return [photograph, rng.integers(0, 256, (side, side, 3), np.uint8), few, dull, flat, mixed]


def of_pil(name: str, x: np.ndarray, amount: float, place: tuple[float, float]) -> np.ndarray:
    """The op as Yif-Yang/DSSL calls PIL for it, with its sign in the amount."""
    return np.asarray(_CALLS[name](Image.fromarray(x), amount, place))


def _affine(*matrix: int) -> Callable[..., Image.Image]:
    """Of 1, 0 and the amount, which stands as 2."""

    def call(image: Image.Image, amount: float, _: Any) -> Image.Image:
        numbers = [amount if x == 2 else x for x in matrix]
        return image.transform(image.size, Image.Transform.AFFINE, numbers)

    return call


def _cutout(image: Image.Image, side: float, place: tuple[float, float]) -> Image.Image:
    width, height = image.size
    across, down = (1 + p * (size - 1) for p, size in zip(place, image.size, strict=True))
    left, top = int(max(0, across - side / 2.0)), int(max(0, down - side / 2.0))
    box = (left, top, min(width, left + side), min(height, top + side))
    copy = image.copy()
    ImageDraw.Draw(copy).rectangle(box, CUTOUT_COLOUR)
    return copy


def _solarize_add(image: Image.Image, levels: float, _: Any) -> Image.Image:
    lighter = np.clip(np.array(image).astype(int) + levels, 0, 255).astype(np.uint8)
    return ImageOps.solarize(Image.fromarray(lighter), 128)


_CALLS: dict[str, Callable[..., Image.Image]] = {
    "auto_contrast": lambda image, *_: ImageOps.autocontrast(image),
    "equalize": lambda image, *_: ImageOps.equalize(image),
    "invert": lambda image, *_: ImageOps.invert(image),
    "rotate": lambda image, amount, _: image.rotate(amount),
    "posterize": lambda image, amount, _: ImageOps.posterize(image, max(1, int(amount))),
    "solarize": lambda image, amount, _: ImageOps.solarize(image, amount),
    "solarize_add": _solarize_add,
    "color": lambda image, amount, _: ImageEnhance.Color(image).enhance(amount),
    "contrast": lambda image, amount, _: ImageEnhance.Contrast(image).enhance(amount),
    "brightness": lambda image, amount, _: ImageEnhance.Brightness(image).enhance(amount),
    "sharpness": lambda image, amount, _: ImageEnhance.Sharpness(image).enhance(amount),
    "shear_x": _affine(1, 2, 0, 0, 1, 0),
    "shear_y": _affine(1, 0, 0, 2, 1, 0),
    "cutout": _cutout,
    "translate_x": _affine(1, 0, 2, 0, 1, 0),
    "translate_y": _affine(1, 0, 0, 0, 1, 2),
}
