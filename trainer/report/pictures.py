"""Pixels as pictures that stand in the page itself."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from trainer.report.markup import Markup

MOST_PX = 128  # side of a picture
TILE_PX = 40  # side of a picture that a point of the map shows
_QUALITY = 82


def picture(pixels: np.ndarray, most_px: int = MOST_PX) -> Markup:  # pixels: [H, W, 3] uint8
    """A data address of the image, made smaller where its longer side is more."""
    image = Image.fromarray(pixels)
    image.thumbnail((most_px, most_px), Image.Resampling.LANCZOS)
    return _address(image)


def atlas(images: Sequence[np.ndarray]) -> tuple[Markup, int]:  # images: [S, S, 3] uint8
    """One picture of all of them, a tile each, row by row; and how many are in a row."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * TILE_PX, rows * TILE_PX))
    for number, pixels in enumerate(images):
        tile = Image.fromarray(pixels).resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)
        sheet.paste(tile, (number % columns * TILE_PX, number // columns * TILE_PX))
    return _address(sheet), columns


def _address(image: Image.Image) -> Markup:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return Markup(f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}")
