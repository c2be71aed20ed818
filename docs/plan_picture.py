"""Draws docs/plan.jpg: one view of one plan, step by step, by the reference itself.

`python docs/make.py plan` calls it. The steps are those of `augengine.reference.render`, with
amounts chosen to be seen.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.data import coffee

from augengine import reference

TILE, GAP, CAPTION = 200, 12, 40
WINDOW = (40, 150, 300, 360)  # top, left, height, width


def steps() -> list[tuple[str, np.ndarray]]:
    """Caption and picture of each step, [H, W, 3] float32 in [0, 1]."""
    x = reference.resize(reference.crop(coffee(), np.array(WINDOW)), TILE)
    found = [("window 40, 150, 300, 360", image_with_window()), ("resize to 200 px", x)]
    for caption, op in (
        ("flip", reference.flip),
        ("contrast 0.6", lambda x: reference.adjust_contrast(x, 0.6)),
        ("hue 0.1", lambda x: reference.adjust_hue(x, 0.1)),
        ("brightness 1.3", lambda x: reference.adjust_brightness(x, 1.3)),
        ("saturation 1.5", lambda x: reference.adjust_saturation(x, 1.5)),
        ("gray", reference.to_gray),
        ("blur: sigma 2, 13 taps", lambda x: reference.gaussian_blur(x, 13, 2.0)),
        ("solarize from 0.5", lambda x: reference.solarize(x, 0.5)),
    ):
        x = op(x)
        found.append((caption, x))
    return found


def image_with_window() -> np.ndarray:
    """The whole image, dimmed outside the window."""
    top, left, height, width = WINDOW
    image = coffee().astype(np.float32) / 255
    dimmed = 0.45 * image + 0.5
    dimmed[top : top + height, left : left + width] = image[top : top + height, left : left + width]
    picture = np.ones((TILE, TILE, 3), np.float32)
    side = TILE * image.shape[0] // image.shape[1]
    rows = reference.resize_weights(image.shape[0], side)
    columns = reference.resize_weights(image.shape[1], TILE)
    picture[(TILE - side) // 2 :][:side] = np.einsum(
        "ph,hwc,qw->pqc", rows, dimmed, columns, optimize=True
    )
    return picture


def draw(path: Path) -> None:
    """Lay the steps out in two rows and write the file."""
    tiles = steps()
    columns = (len(tiles) + 1) // 2
    size = (columns * (TILE + GAP) + GAP, 2 * (TILE + CAPTION) + GAP)
    page = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=15)
    for i, (caption, x) in enumerate(tiles):
        left = GAP + (i % columns) * (TILE + GAP)
        top = GAP + (i // columns) * (TILE + CAPTION)
        page.paste(Image.fromarray(np.rint(x * 255).astype(np.uint8)), (left, top))
        draw.text((left, top + TILE + 4), f"{i + 1}. {caption}", fill="black", font=font)
    page.save(path, quality=88)
