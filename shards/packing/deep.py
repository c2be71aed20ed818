"""Values of more than 8 bits, exactly as they are in the file, and how they become 8.

Pillow has 16-bit gray, but of 16-bit colour it keeps the high bytes alone. Reading the file a
second time with the bytes of each value swapped gives the low ones. A detector of 12 bits leaves
nothing in the high byte but 0 to 15, so what is kept matters.
"""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from shards.errors import UsageError
from shards.samples.image_header import ImageError, load
from shards.samples.oddities import defined_range, raw_mode, tile_of

ValueRange = tuple[float, float]  # values of black and white
_MAX_16_BIT = (1 << 16) - 1
_ROWS_AT_ONCE = 256  # of values that are no table's index: in 64 bits they take eight bytes each


@dataclass(frozen=True, slots=True)
class DeepValues:
    """A decoded image of over 8 bits a value."""

    values: np.ndarray  # [H, W] or [H, W, C] integers or fractions
    alpha: np.ndarray | None  # [H, W] uint8
    defined: ValueRange | None  # by the file's format

    def extrema(self) -> ValueRange:
        """The least and the greatest finite value."""
        values = self.values
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)

    def scaled(self, value_range: ValueRange | None) -> np.ndarray:
        """Values [H, W] or [H, W, C] uint8, low to 0 and high to 255, beyond them clipped.

        Raises:
            ImageError: no range is given, and the format defines none.
        """
        value_range = value_range or self.defined
        if value_range is None:
            low, high = self.extrema()
            raise ImageError(
                f"its values of 32-bit, signed or floating type have no defined range (they go "
                f"from {low:,g} to {high:,g}); give one with --value-range LOW:HIGH"
            )
        return scale(self.values, value_range)


def parse_range(text: str) -> ValueRange:
    """Values of black and white from a text such as 0:4095; raises UsageError."""
    match = re.fullmatch(r"([^:]+):([^:]+)", text)
    try:
        low, high = (float(part) for part in match.groups()) if match else (0.0, 0.0)
    except ValueError:
        low = high = 0.0
    if not -math.inf < low < high < math.inf:
        raise UsageError(
            f"a value range goes from black to white, LOW:HIGH with LOW below HIGH, got {text!r}; "
            f"for 12 bits give 0:4095"
        )
    return low, high


def read_deep(image: Image.Image, open_again: Callable[[], Image.Image]) -> DeepValues:
    """Decode an opened image of over 8 bits a value.

    Args:
        image: not loaded yet; it is loaded here.
        open_again: opens the same file anew.

    Raises:
        ImageError: its pixels are damaged.
    """
    defined, raw, (codec, arguments) = defined_range(image), raw_mode(image), tile_of(image)
    if codec in ("ppm", "ppm_plain"):
        return _read_ppm(image, open_again, int(arguments[1]))
    if image.mode.startswith(("I", "F")):
        # libtiff turns bytes round itself, and Pillow would once more.
        native = raw.replace("B", "", 1) if codec == "libtiff" and ";16" not in image.mode else raw
        values = _load_as(image, native)
        return DeepValues(values, _keyed(values, image), defined)
    swapped = _swapped(raw)
    load(image)
    high = np.asarray(image)
    if raw == "LA;16B":
        again = _load_as(open_again(), "RGBA")
        return DeepValues(_joined(again[..., 0], again[..., 1]), again[..., 2], defined)
    if swapped is None or image.mode not in ("RGB", "RGBA"):
        # Pillow has no way to the low bytes.
        return DeepValues(high[..., :3].astype(np.uint16) * 257, None, defined)
    low = _load_as(open_again(), swapped)
    values = _joined(high[..., :3], low[..., :3])
    alpha = high[..., 3] if image.mode == "RGBA" else _keyed(values, image)
    return DeepValues(values, alpha, defined)


def _read_ppm(
    image: Image.Image, open_again: Callable[[], Image.Image], maximum: int
) -> DeepValues:
    """Gray or colour up to a maximum that the file names; Pillow scales that to 16 bits, or 8."""
    load(image)
    if image.mode == "I":
        values = np.rint(np.asarray(image) * (maximum / _MAX_16_BIT))
        return DeepValues(values.astype(np.uint16), None, (0, maximum))
    again: Any = open_again()
    again.fp.seek(again.tile[0][2])
    shape = (image.height, image.width, 3)
    values = np.frombuffer(again.fp.read(2 * math.prod(shape)), ">u2").reshape(shape)
    return DeepValues(values.astype(np.uint16), None, (0, maximum))


def scale(values: np.ndarray, value_range: ValueRange) -> np.ndarray:
    """Values as uint8: v becomes round(255 (v - low) / (high - low)), clipped to 0..255."""
    if values.dtype == np.uint16:
        return _scale(np.arange(1 << 16), value_range)[values]
    scaled = np.empty(values.shape, np.uint8)
    for first in range(0, len(values), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        scaled[rows] = _scale(values[rows], value_range)
    return scaled


def _scale(values: np.ndarray, value_range: ValueRange) -> np.ndarray:
    low, high = value_range
    levels = 255 * (np.nan_to_num(values.astype(np.float64), nan=low) - low) / (high - low)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def _swapped(raw: str) -> str | None:
    """The same mode with the bytes of a value in the other order, None where there is none."""
    mode, _, order = raw.partition(";16")
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}.get(order)
    return f"{mode};16{other}" if other else None


def _load_as(image: Image.Image, raw: str) -> np.ndarray:
    """Decode with another reading of the file's bytes."""
    opened: Any = image
    opened.tile = [_with_raw(tile, raw) for tile in opened.tile]
    load(image)
    return np.asarray(image)


def _with_raw(tile: Any, raw: str) -> Any:
    arguments = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
    # A named tuple since Pillow 11.1.
    named = getattr(tile, "_replace", None)
    return named(args=arguments) if named else (*tile[:3], arguments)


def _joined(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return high.astype(np.uint16) << 8 | low


def _keyed(values: np.ndarray, image: Image.Image) -> np.ndarray | None:
    """The alpha of a file that calls one value transparent."""
    key = image.info.get("transparency")
    if key is None:
        return None
    is_key = values == np.asarray(key)
    return np.where(is_key.all(axis=-1) if values.ndim == 3 else is_key, 0, 255).astype(np.uint8)
