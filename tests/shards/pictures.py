"""Encoded images by number, for tests that need many small ones to tell apart."""

import io

import numpy as np
from PIL import Image


def jpeg_of(number: int) -> bytes:
    """A JPEG of 12x16 pixels, unlike any other number's."""
    pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()
