"""Turns any image into the bytes that are stored: a good JPEG as it is, everything else an RGB PNG.

Worker processes run `transcode` on every sample. What is stored has to mean the same to every
decoder, so the odd cases end here: palettes, alpha, 16 bits, CMYK and rotated files become upright
8-bit RGB. JPEGs keep their bytes, also gray ones (decoders make them RGB) and rotated ones
(decoders apply EXIF, the index holds the upright size), unless they are CMYK, which decoders read
differently; what lies behind the end of the picture, the video of a phone's motion photo, is cut
off. Every image is decoded in full, so that a torn file is found now and not after days of
training. What is lost on the way is told with the image (`samples/oddities.py`).
"""

import io
import warnings
import zlib
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageOps

from shards.format import MAX_IMAGE_PIXELS
from shards.packing.conversions import Conversion
from shards.packing.deep import ValueRange, read_deep, scale
from shards.samples.image_header import (
    JPEG_FORMATS,
    ImageError,
    check_size,
    load,
    open_image,
    upright_size,
)
from shards.samples.jpeg_markers import picture_end
from shards.samples.oddities import ALPHA, CLIPPED, CUT, DEEP, is_deep, oddities
from shards.sources.raw import Payload, Pixels

JPEG_QUALITY = 95  # of JPEGs that are made smaller, with full chroma (4:4:4)
# Behind the picture of a JPEG: less is padding, and not worth other bytes.
_MAX_TAIL_BYTES = 64 << 10
# A JPEG is decoded at a half, a quarter or an eighth without ever being held at its full size. Its
# time still grows with its pixels.
_MAX_JPEG_PIXELS = 2_000_000_000
_JPEG_START = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """The changes that every image goes through."""

    short_side_px: int | None = None  # shrink to this short side, never enlarge
    value_range: ValueRange | None = None  # of black and white in images of over 8 bits a value
    max_pixels: int = MAX_IMAGE_PIXELS  # of an image that is decoded at its full size


DEFAULTS = ImageOptions()


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image as it goes into a shard."""

    extension: str  # "jpg" or "png"
    data: bytes
    height: int  # pixels, upright
    width: int
    crc32: int
    conversions: tuple[Conversion, ...] = ()  # what it lost on the way
    mask: bytes = b""  # a PNG of the same size; empty: there is none


def transcode(payload: Payload, options: ImageOptions = DEFAULTS) -> StoredImage:
    """Decode an image in full and give the bytes to store.

    Args:
        payload: an image file's bytes in any format Pillow reads (of an animation the first frame
            counts), or pixels [H, W] or [H, W, 3] as uint8 or uint16.
        options: an image is shrunk until its short side has the length asked for, and never
            enlarged. A JPEG that shrinks is encoded anew (quality 95, 4:4:4, upright), any other
            stays lossless.

    Raises:
        ImageError: when it is empty, torn, unknown, too large, or has no defined meaning in 8 bits.
    """
    if not isinstance(payload, bytes):
        image = _from_pixels(payload, options.value_range)
        return _store(image, "PNG", shrunk_size(image.size, options))
    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which we do not keep.
        warnings.simplefilter("ignore")
        payload, conversions = _cut(payload)
        image = _open(payload, options)
        odd = oddities(image)
        height, width = upright_size(image)
        target = shrunk_size((width, height), options)
        is_jpeg = image.format in JPEG_FORMATS
        _draft(image, options)
        if is_deep(image):
            image, found = _flat(image, partial(_open, payload, options), options.value_range)
            conversions += found
        else:
            load(image)
        if is_jpeg and image.mode in ("L", "RGB") and target is None:
            return StoredImage("jpg", payload, height, width, zlib.crc32(payload), conversions)
        if ALPHA in odd and _is_opaque(image):
            odd = tuple(oddity for oddity in odd if oddity != ALPHA)
        conversions += tuple(Conversion(oddity) for oddity in odd if oddity != DEEP)
        kind = "JPEG" if is_jpeg and target is not None else "PNG"
        return _store(_upright_rgb(image), kind, target, conversions)


def decode_rgb(encoded: bytes) -> Image.Image:
    """An image as decoders mean it: upright 8-bit RGB.

    Raises:
        ImageError: as `transcode`.
    """
    image = open_image(encoded)
    if is_deep(image):
        image, _ = _flat(image, partial(open_image, encoded), None)
    else:
        load(image)
    return _upright_rgb(image)


def _upright_rgb(image: Image.Image) -> Image.Image:
    """A loaded image of 8 bits a value as RGB with its EXIF orientation applied."""
    # Pillow would also turn an image for its XMP, which no other decoder does.
    for key in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(key, None)
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF orients nothing
        pass
    return _to_rgb(image)


def _cut(payload: bytes) -> tuple[bytes, tuple[Conversion, ...]]:
    """A JPEG without what lies behind its picture."""
    end = picture_end(payload) if payload.startswith(_JPEG_START) else None
    if end is None or len(payload) - end <= _MAX_TAIL_BYTES:
        return payload, ()
    return payload[:end], (Conversion(CUT),)


def _open(payload: bytes, options: ImageOptions) -> Image.Image:
    """The image, not loaded yet, of any size that can be shrunk to the one asked for."""
    if options.short_side_px is None:
        return open_image(payload)
    max_pixels = options.max_pixels
    if payload.startswith(_JPEG_START):
        max_pixels = max(max_pixels, _MAX_JPEG_PIXELS)
    return open_image(payload, max_pixels, max_side=max_pixels)


def _draft(image: Image.Image, options: ImageOptions) -> None:
    """Have a JPEG that is too large for its full size decoded at a half, or less."""
    short = options.short_side_px
    if short is None or image.width * image.height <= options.max_pixels:
        return
    # A progressive one is held at its full size, whatever is asked for.
    if not image.info.get("progressive"):
        factor = max(1, min(image.size) // short)
        image.draft(None, (image.width // factor, image.height // factor))
    check_size(image.size, options.max_pixels)


def _flat(
    image: Image.Image, open_again: partial[Image.Image], value_range: ValueRange | None
) -> tuple[Image.Image, tuple[Conversion, ...]]:
    """An image of over 8 bits a value with 8, as its format and orientation were."""
    deep = read_deep(image, open_again)
    pixels = deep.scaled(value_range)
    if deep.alpha is not None:
        color = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
        pixels = np.dstack([color, deep.alpha])
    flat = Image.fromarray(pixels)
    flat.format = image.format
    flat.info = {key: image.info[key] for key in ("exif",) if key in image.info}
    low, high = deep.extrema()
    conversions = (Conversion(DEEP, low, high, (value_range or deep.defined or (0, 0))[1]),)
    if value_range is not None and not value_range[0] <= low <= high <= value_range[1]:
        conversions += (Conversion(CLIPPED, low, high),)
    return flat, conversions


def _is_opaque(image: Image.Image) -> bool:
    return image.convert("RGBA").getchannel("A").getextrema() == (255, 255)


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB: transparency over white, anything else by Pillow's conversion."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"colour mode {image.mode} cannot be turned into RGB") from error


def _from_pixels(pixels: Pixels, value_range: ValueRange | None) -> Image.Image:
    """An RGB image of gray or RGB pixels; 16-bit values v become round(v / 257)."""
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or not pixels.size:
        raise ImageError(f"pixels must be [H, W] or [H, W, 3], got {list(pixels.shape)}")
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        pixels = scale(pixels.astype(np.uint16), value_range or (0, (1 << 16) - 1))
    if pixels.dtype != np.uint8:
        raise ImageError(f"pixels must be uint8 or uint16, got {pixels.dtype}")
    check_size((pixels.shape[1], pixels.shape[0]))
    return Image.fromarray(pixels).convert("RGB")


def _store(
    image: Image.Image,
    file_format: str,
    target: tuple[int, int] | None,
    conversions: tuple[Conversion, ...] = (),
) -> StoredImage:
    """Encode an upright RGB image, at another size where there is one."""
    if target is not None:
        image = image.resize(target, Image.Resampling.LANCZOS)
    check_size(image.size)
    # Otherwise profiles, comments and transparency of the original would be written again.
    image.info.clear()
    buffer = io.BytesIO()
    if file_format == "JPEG":
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(buffer, "PNG")
    data = buffer.getvalue()
    extension = "jpg" if file_format == "JPEG" else "png"
    return StoredImage(extension, data, image.height, image.width, zlib.crc32(data), conversions)


def shrunk_size(size: tuple[int, int], options: ImageOptions) -> tuple[int, int] | None:
    """Width and height with the short side asked for, the long one rounded; None to keep them."""
    (width, height), side = size, options.short_side_px
    short = min(size)
    if side is None or short <= side:
        return None
    return (2 * width * side + short) // (2 * short), (2 * height * side + short) // (2 * short)
