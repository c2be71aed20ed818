"""The groups as a picture: the image that stays first, similarities under the others.

Groups are shown from the most to the least alike, evenly chosen, so that the last ones tell whether
the threshold is too low.
"""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from augengine.decoders.create_decoder import create_decoder
from augengine.loader.bad_samples import BadSample
from augengine.loader.image_source import ImageSource
from augengine.loader.meter import Meter
from shards.index import ShardIndex
from shards.reader import ShardReader
from shards.terminal.counted import counted
from tools.contact_sheet import FAINT, INK, PAPER
from tools.duplicates.near_groups import Nearest
from trainer.embed.feature_table import FeatureTable

MAX_GROUPS, MAX_COLUMNS = 48, 8
TILE_PX, GAP_PX, CAPTION_PX, MARGIN_PX, TITLE_PX = 96, 10, 28, 20, 48
STEP_PX, LINE_PX = TILE_PX + GAP_PX, TILE_PX + CAPTION_PX + 2 * GAP_PX
_LETTERS = 17  # of a name that fit under a tile


def choose_groups(nearest: Nearest, groups: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Up to MAX_GROUPS groups, by their least similarity, falling."""
    order = sorted(groups, key=lambda group: -float(nearest.similarities[group[1:]].min()))
    chosen = np.unique(
        np.linspace(0, len(order) - 1, min(MAX_GROUPS, len(order))).round().astype(int)
    )
    return [order[place] for place in chosen.tolist()]


def draw_groups(
    index: ShardIndex,
    table: FeatureTable,
    nearest: Nearest,
    groups: Sequence[np.ndarray],
    title: str,
) -> Image.Image:
    """The picture of some groups of an index's images."""
    shown = choose_groups(nearest, groups)
    places, height = _place(shown)
    width = 2 * MARGIN_PX + MAX_COLUMNS * STEP_PX - GAP_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    draw.text((MARGIN_PX, 8), title, INK, ImageFont.load_default(13))
    words = (
        f"{len(shown)} of {counted(len(groups), 'group')}, the least alike last; the first of "
        "each stays"
    )
    draw.text((MARGIN_PX, 25), words, FAINT, font)
    for group, (left, top) in zip(shown, places, strict=True):
        members = group[:MAX_COLUMNS]
        images = _load(index, table.ids[members])
        more = f"  + {len(group) - MAX_COLUMNS}" if len(group) > MAX_COLUMNS else ""
        for column, (row, image) in enumerate(zip(members.tolist(), images, strict=True)):
            at = (left + column * STEP_PX, top)
            if image is not None:
                sheet.paste(_tile(image), at)
            words = f"{nearest.similarities[row]:.3f}" if column else "stays"
            words += more if column == MAX_COLUMNS - 1 else ""
            name = table.names[row].rpartition("/")[2][-_LETTERS:]
            draw.text((at[0], at[1] + TILE_PX + 1), words, INK, font)
            draw.text((at[0], at[1] + TILE_PX + 13), name, FAINT, font)
    return sheet


def _place(groups: Sequence[np.ndarray]) -> tuple[list[tuple[int, int]], int]:
    """Left and top of every group, from left to right and line by line, and the sheet's height."""
    places, column, line = [], 0, 0
    for group in groups:
        size = min(len(group), MAX_COLUMNS)
        if column + size > MAX_COLUMNS:
            column, line = 0, line + 1
        places.append((MARGIN_PX + column * STEP_PX, TITLE_PX + line * LINE_PX))
        column += size
    return places, TITLE_PX + (line + 1) * LINE_PX + MARGIN_PX


def picture_bytes(picture: Image.Image, suffix: str) -> bytes:
    """The picture as the content of a file with this ending."""
    buffer = BytesIO()
    picture.save(buffer, Image.registered_extensions()[suffix.lower()])
    return buffer.getvalue()


def _load(index: ShardIndex, ids: np.ndarray) -> list[np.ndarray | None]:
    """Upright pixels, None for what cannot be read any more."""
    with ShardReader(index) as reader:
        decoder = create_decoder("pillow", torch.device("cpu"), num_threads=1)
        found = ImageSource(index, reader, decoder, Meter()).load(ids)
    return [None if isinstance(image, BadSample) else np.asarray(image) for image in found]


def _tile(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((TILE_PX, TILE_PX))
