"""Draws a plan and its views as one picture: a row an image, a colour a view.

At the left the source with every view's window, then the views themselves, framed in their
window's colour, with what was done to them in words. Only Pillow; show_views.py reads the data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from augengine.plan import FILLED, NO_SOLARIZE, PASTED, Plan

# Told apart in print and by most eyes; global views take the first ones.
COLOURS = (
    *("#d7263d", "#1b6ec2", "#e88d00", "#2a9134", "#8a3ab9", "#00a3a3", "#e0479e", "#8d5a2b"),
    *("#5c6f82", "#7fb800", "#3d348b", "#c08497"),
)
PAPER, INK, FAINT = "#fbfbf9", "#1c1f24", "#70767f"
LARGE_PX, SMALL_PX = 224, 96  # sides a tile aims at: the sizes most views have anyway
MAX_SOURCE_PX = 336  # width
MARGIN_PX, GAP_PX, ROW_GAP_PX = 24, 12, 20
FRAME_PX = 2
CAPTION_FONT, TITLE_FONT = 11, 22
LINE_PX, CAPTION_LINES, CAPTION_GAP_PX = 13, 2, 4
CAPTION_PX = CAPTION_GAP_PX + LINE_PX * CAPTION_LINES


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One image of the sheet."""

    image: np.ndarray  # [H, W, 3] uint8 - the upright source
    views: tuple[np.ndarray, ...]  # V + H of [S, S, 3] uint8, in plan order, then heavy ones
    captions: tuple[str, str]  # under the source


def draw_sheet(rows: Sequence[SheetRow], plan: Plan, title: str, subtitle: str) -> Image.Image:
    """The picture of `rows`, which are the images of `plan` in order."""
    places, width = _place_views(plan)
    row_px = LARGE_PX + CAPTION_PX
    top = MARGIN_PX + TITLE_FONT + LINE_PX + ROW_GAP_PX
    height = top + len(rows) * (row_px + ROW_GAP_PX) + MARGIN_PX - ROW_GAP_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, MARGIN_PX - 6), title, INK, _font(TITLE_FONT))
    draw.text((MARGIN_PX, MARGIN_PX + TITLE_FONT + 2), subtitle, FAINT, _font(CAPTION_FONT + 1))
    for b, row in enumerate(rows):
        y = top + b * (row_px + ROW_GAP_PX)
        _draw_source(sheet, (MARGIN_PX, y), row, plan, b)
        for v, (left, down, side) in enumerate(places):
            _draw_view(sheet, (left, y + down), side, row.views[v], _label(plan, b, v))
    return sheet


def describe_view(plan: Plan, b: int, v: int) -> tuple[str, ...]:
    """One view in words: its share of the image's area, then what was done, in order."""
    height, width = plan.window[b, v, 2:].tolist()
    share = height * width / np.prod(plan.image_sizes[b].astype(np.int64))
    neutral = (plan.brightness, 1), (plan.contrast, 1), (plan.saturation, 1), (plan.hue, 0)
    words = [f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"]
    words += ["no bg"] * bool(plan.background[b, v] == FILLED)
    words += [f"bg of {plan.donor[b, v]}"] * bool(plan.background[b, v] == PASTED)
    words += ["flip"] * bool(plan.flip[b, v])
    words += ["vflip"] * bool(plan.vflip[b, v])
    words += [f"turn {90 * int(plan.quarter_turns[b, v])}"] * bool(plan.quarter_turns[b, v])
    words += ["jit"] * any(values[b, v] != off for values, off in neutral)
    words += ["gray"] * bool(plan.gray[b, v])
    words += [f"blur {plan.sigma[b, v]:.1f}"] * bool(plan.sigma[b, v] > 0)
    words += ["sol"] * bool(plan.solarize[b, v] < NO_SOLARIZE)
    return tuple(words)


@dataclass(frozen=True, slots=True)
class _Label:
    """A tile's colour and tag, and what was done to its view."""

    colour: str
    tag: str
    words: tuple[str, ...]


def _label(plan: Plan, b: int, v: int) -> _Label:
    """Of a view, or of a heavy one behind them, which has the colour of its source: 1+ is of 1."""
    if plan.heavy is None or v < plan.num_views:
        return _Label(_colour(v), str(v + 1), describe_view(plan, b, v))
    h = v - plan.num_views
    source = int(plan.heavy.source[h])
    return _Label(_colour(source), f"{source + 1}+", plan.heavy.in_words(b, h))


def _place_views(plan: Plan) -> tuple[list[tuple[int, int, int]], int]:
    """Per view (left, down inside the row, side of its tile), and the sheet's width.

    Groups much smaller than the largest get small tiles, two of them in a column. Heavy views, the
    last of the places, stand behind those of the first group.
    """
    widest = max(_source_size(size)[1] for size in plan.image_sizes)
    places: dict[int, tuple[int, int, int]] = {}
    left = MARGIN_PX + widest + 2 * GAP_PX
    first, *others = plan.groups
    num_heavy = plan.heavy.num_views if plan.heavy else 0
    heavy = tuple(range(plan.num_views, plan.num_views + num_heavy))
    for views, group in ((first, first), (heavy, first), *zip(others, others, strict=True)):
        size_px = int(plan.size_px[group[0]])
        is_small = size_px <= 0.6 * plan.size_px.max()
        side = _tile_side(size_px, SMALL_PX if is_small else LARGE_PX)
        per_column = 2 if is_small else 1
        for i, view in enumerate(views):
            column, row = divmod(i, per_column)
            down = row * (LARGE_PX - SMALL_PX)
            places[view] = (left + column * (side + GAP_PX), down, side)
        left += -(-len(views) // per_column) * (side + GAP_PX) + GAP_PX * bool(views)
    return [places[view] for view in sorted(places)], left - 2 * GAP_PX + MARGIN_PX


def _tile_side(size_px: int, aim_px: int) -> int:
    # A whole multiple, so that every pixel of a small crop becomes an equal square.
    return size_px * (aim_px // size_px) if size_px <= aim_px else aim_px


def _source_size(image_size: np.ndarray) -> tuple[int, int]:
    """Height and width at which a source is shown: a whole multiple when it is small."""
    height, width = image_size.tolist()
    scale = min(LARGE_PX / height, MAX_SOURCE_PX / width)
    scale = int(scale) if scale >= 1 else scale
    return max(1, round(height * scale)), max(1, round(width * scale))


def _draw_source(
    sheet: Image.Image, at: tuple[int, int], row: SheetRow, plan: Plan, b: int
) -> None:
    height, width = _source_size(plan.image_sizes[b])
    scale = height / row.image.shape[0]
    sheet.paste(_scaled(row.image, width, height), at)
    draw = ImageDraw.Draw(sheet)
    for v in reversed(range(plan.num_views)):  # the first views, which are larger, on top
        y, x, h, w = (plan.window[b, v] * scale).tolist()
        box = [at[0] + round(x), at[1] + round(y)]
        # A window of a tiny or a very long image may be thinner than a pixel of the picture.
        box += [max(box[0], at[0] + round(x + w) - 1), max(box[1], at[1] + round(y + h) - 1)]
        draw.rectangle([box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1], outline="#ffffff")
        draw.rectangle(box, outline=_colour(v), width=FRAME_PX)
        _draw_tag(draw, (box[0], box[1]), _colour(v), str(v + 1))
    for line, (text, ink) in enumerate(zip(row.captions, (INK, FAINT), strict=True)):
        y = at[1] + height + CAPTION_GAP_PX + line * LINE_PX
        draw.text((at[0], y), _shortened(text, max(width, SMALL_PX)), ink, _font(CAPTION_FONT))


def _draw_view(
    sheet: Image.Image,
    at: tuple[int, int],
    side: int,
    view: np.ndarray,
    label: _Label,
) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.rectangle(
        [at[0] - FRAME_PX, at[1] - FRAME_PX, at[0] + side + 1, at[1] + side + 1], fill=label.colour
    )
    sheet.paste(_scaled(view, side, side), at)
    _draw_tag(draw, (at[0] - FRAME_PX, at[1] - FRAME_PX), label.colour, label.tag)
    for line, text in enumerate(_wrapped(label.words, side)):
        y = at[1] + side + CAPTION_GAP_PX + line * LINE_PX
        draw.text((at[0], y), text, INK, _font(CAPTION_FONT))


def _draw_tag(draw: ImageDraw.ImageDraw, at: tuple[int, int], colour: str, tag: str) -> None:
    """The view's number on its colour."""
    width = 13 if len(tag) < 2 else 19
    draw.rectangle([at[0], at[1], at[0] + width, at[1] + 14], fill=colour)
    draw.text((at[0] + (width + 1) / 2, at[1] + 7), tag, "#ffffff", _font(11), anchor="mm")


def _scaled(image: np.ndarray, width: int, height: int) -> Image.Image:
    grows = width >= image.shape[1]
    method = Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((max(1, width), max(1, height)), method)


def _wrapped(words: Sequence[str], width_px: int) -> list[str]:
    """The words on at most CAPTION_LINES lines; the last one is cut where it must be."""
    lines = [""]
    for word in words:
        longer = f"{lines[-1]}  {word}".strip()
        if _font(CAPTION_FONT).getlength(longer) <= width_px or len(lines) == CAPTION_LINES:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_shortened(line, width_px + GAP_PX - 2) for line in lines]


def _shortened(text: str, width_px: int) -> str:
    if _font(CAPTION_FONT).getlength(text) <= width_px:
        return text
    while text and _font(CAPTION_FONT).getlength(f"{text}...") > width_px:
        text = text[:-1]
    return f"{text}..."


def _colour(v: int) -> str:
    return COLOURS[v % len(COLOURS)]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
