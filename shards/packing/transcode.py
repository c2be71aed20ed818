"""Turns any image into the bytes that are stored: a good JPEG as it is, everything else an RGB PNG.

`writer.pack` runs `transcode` on every sample in worker processes. What is stored has to mean the
same to every decoder, so the odd cases end here: palettes, alpha, 16 bits, CMYK and rotated files
become upright 8-bit RGB. JPEGs keep their bytes, also gray ones (decoders make them RGB) and
rotated ones (decoders apply EXIF, the index holds the upright size), unless they are CMYK, which
decoders read differently. Every image is decoded in full, so that a torn file is found now and not
after days of training.
"""

import io
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from shards.image import JPEG_FORMATS, ImageError, check_size, load, open_image, upright_size
from shards.sources.raw import Payload, Pixels

JPEG_QUALITY = 95  # of JPEGs that are made smaller, with full chroma (4:4:4)


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image as it goes into a shard."""

    extension: str  # "jpg" or "png"
    data: bytes
    height: int  # pixels, upright
    width: int
    crc32: int


def transcode(payload: Payload, short_side_px: int | None = None) -> StoredImage:
    """Decode an image in full and give the bytes to store.

    Args:
        payload: an image file's bytes in any format Pillow reads (of an animation the first frame
            counts), or pixels [H, W] or [H, W, 3] as uint8 or uint16.
        short_side_px: shrink the image until its short side has this length; never enlarge. A JPEG
            that shrinks is encoded anew (quality 95, 4:4:4, upright), any other stays lossless.

    Raises:
        ImageError: when it is empty, torn, unknown, too large, or has no defined meaning in 8 bits.
    """
    if not isinstance(payload, bytes):
        return _store(_from_pixels(payload), "PNG", short_side_px)
    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which we do not keep.
        warnings.simplefilter("ignore")
        image = open_image(payload)
        load(image)
        is_jpeg = image.format in JPEG_FORMATS
        height, width = upright_size(image)
        shrinks = short_side_px is not None and min(height, width) > short_side_px
        if is_jpeg and image.mode in ("L", "RGB") and not shrinks:
            return StoredImage("jpg", payload, height, width, zlib.crc32(payload))
        keep_jpeg = is_jpeg and shrinks
        return _store(upright_rgb(image), "JPEG" if keep_jpeg else "PNG", short_side_px)


def upright_rgb(image: Image.Image) -> Image.Image:
    """A loaded image as 8-bit RGB with its EXIF orientation applied; decoders mean the same.

    Raises:
        ImageError: its pixels have no defined meaning in 8 bits.
    """
    # Pillow would also turn an image for its XMP, which no other decoder does.
    for key in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(key, None)
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF orients nothing
        pass
    return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB: 16 bits scaled, transparency over white, anything else by Pillow's conversion."""
    if image.mode.startswith("I;16"):
        return _from_pixels(np.asarray(image))
    if image.mode in ("I", "F"):
        raise ImageError(
            f"32-bit pixels (mode {image.mode}) have no defined range; save as 8 or 16 bit"
        )
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"colour mode {image.mode} cannot be turned into RGB") from error


def _from_pixels(pixels: Pixels) -> Image.Image:
    """An RGB image of gray or RGB pixels; 16-bit values v become round(v / 257)."""
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or not pixels.size:
        raise ImageError(f"pixels must be [H, W] or [H, W, 3], got {list(pixels.shape)}")
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ImageError(f"pixels must be uint8 or uint16, got {pixels.dtype}")
    check_size((pixels.shape[1], pixels.shape[0]))
    return Image.fromarray(pixels).convert("RGB")


def _store(image: Image.Image, file_format: str, short_side_px: int | None) -> StoredImage:
    """Encode an upright RGB image, smaller where asked for."""
    if short_side_px is not None and min(image.size) > short_side_px:
        image = image.resize(_shrunk_size(*image.size, short_side_px), Image.Resampling.LANCZOS)
    # Otherwise profiles, comments and transparency of the original would be written again.
    image.info.clear()
    buffer = io.BytesIO()
    if file_format == "JPEG":
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(buffer, "PNG")
    data = buffer.getvalue()
    extension = "jpg" if file_format == "JPEG" else "png"
    return StoredImage(extension, data, image.height, image.width, zlib.crc32(data))


def _shrunk_size(width: int, height: int, short_side_px: int) -> tuple[int, int]:
    """Width and height with the given short side, the long one rounded."""
    short = min(width, height)
    return (
        (2 * width * short_side_px + short) // (2 * short),
        (2 * height * short_side_px + short) // (2 * short),
    )
