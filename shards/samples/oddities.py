"""Oddities of an image that 8-bit RGB cannot hold, by its header: deep values, pages, alpha.

The scan counts these of tars that stay as they are, the packer of what it converts, in the same
words. Nothing of an image is dropped without one of them.
"""

from typing import Any

from PIL import Image

DEEP = "over 8 bits a value: scaled to 8"
PAGES = "several pages or frames: the first is taken"
ALPHA = "transparency: laid over white"
COLOUR = "CMYK, Lab or YCbCr: turned into RGB"
CLIPPED = "values outside --value-range: clipped"
CUT = "a video or more behind the end of the picture: cut off"

_MAX_16_BIT = (1 << 16) - 1
_BITS_TAG, _FORMAT_TAG = 258, 339  # of TIFF: bits a sample; unsigned, signed or floating
_UNSIGNED = 1


def oddities(image: Image.Image) -> tuple[str, ...]:
    """The oddities that an opened image has; transparency, where it may have some."""
    found = {
        DEEP: is_deep(image),
        PAGES: _has_pages(image),
        ALPHA: image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info,
        COLOUR: image.mode in ("CMYK", "LAB", "HSV")
        or (image.mode == "YCbCr" and image.format != "JPEG"),
    }
    return tuple(oddity for oddity, has in found.items() if has)


def is_deep(image: Image.Image) -> bool:
    """Whether an opened image, not loaded yet, has values of over 8 bits."""
    if image.mode.startswith(("I", "F")):
        return True
    codec, arguments = tile_of(image)
    if codec == "ppm":
        return int(arguments[1]) > 255
    return ";16" in raw_mode(image)


def defined_range(image: Image.Image) -> tuple[int, int] | None:
    """The values of black and white that a deep image's format defines, None where none does.

    An unsigned integer of 16 bits goes from 0 to 65,535 unless its file has fewer bits; signed
    ones, those of 32 bits and fractions mean what their maker knows.
    """
    if image.format != "TIFF":
        # Pillow brings gray PPM of any depth to 16 bits, in 32-bit values.
        is_sixteen = not image.mode.startswith(("I", "F")) or image.mode.startswith("I;16")
        return (0, _MAX_16_BIT) if is_sixteen or image.format in ("PPM", "PNG") else None
    tags: Any = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS_TAG, (1,)))
    kinds = set(tags.get(_FORMAT_TAG, (_UNSIGNED,)))
    return (0, (1 << bits) - 1) if bits <= 16 and kinds == {_UNSIGNED} else None


def tile_of(image: Image.Image) -> tuple[str, Any]:
    """Name and arguments of the codec that will decode an opened image."""
    tiles: Any = getattr(image, "tile", None)
    return (tiles[0][0], tiles[0][3]) if tiles else ("", ())


def raw_mode(image: Image.Image) -> str:
    """The layout of values in the file, in Pillow's words, such as `RGB;16B`."""
    _, arguments = tile_of(image)
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _has_pages(image: Image.Image) -> bool:
    # The further pictures of an MPO stay in its file.
    if image.format not in ("TIFF", "GIF", "WEBP", "PNG"):
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # parsers of hostile bytes raise nearly anything
        return False
