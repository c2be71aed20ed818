"""Turns a mask into the bytes that are stored: a PNG of its stored image's size.

One bit a pixel where all is foreground or background, else eight.
"""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from shards.packing.transcode import ImageOptions, StoredImage, shrunk_size
from shards.samples.image_header import ImageError
from shards.samples.masks import decode_mask
from shards.sources.raw import Payload


def with_mask(image: StoredImage, payload: Payload, options: ImageOptions) -> StoredImage:
    """The stored image with its mask, which shrinks as it did: bilinear, antialiased.

    Raises:
        ImageError: the mask is none, or has neither the size that the image had nor the one it has.
    """
    try:
        pixels = decode_mask(payload) if isinstance(payload, bytes) else np.asarray(payload)
        if pixels.ndim != 2 or pixels.dtype != np.uint8:
            raise ImageError(f"it is [H, W] uint8, got {pixels.dtype} {list(pixels.shape)}")
        mask = Image.fromarray(pixels)
        target = (image.width, image.height)
        if mask.size != target and shrunk_size(mask.size, options) != target:
            got = f"{mask.height}x{mask.width}"
            raise ImageError(
                f"it has the size of its image, {image.height}x{image.width}, got {got}"
            )
    except ImageError as error:
        raise ImageError(f"its mask: {error}") from None
    if mask.size != target:
        mask = mask.resize(target, Image.Resampling.BILINEAR)
    return replace(image, mask=encode_mask(np.asarray(mask)))


def encode_mask(
    mask: np.ndarray,  # [H, W] uint8
) -> bytes:
    """The PNG of a mask."""
    image = Image.fromarray(mask)
    if np.isin(mask, (0, 255)).all():
        image = image.convert("1", dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
