"""Launch 2: contrast with the view's mean, the colour ops after it, gray; the end without a blur.

Pixel by pixel, so a tile is a stretch of memory, and a view that is kept transposed (for the blur
of float32 views) stays so.
"""

import triton.language as tl

from augengine.kernels.gpu_colour import adjust
from augengine.kernels.gpu_kept import keep, kept
from augengine.kernels.gpu_task import FLAT_TILE, TILE_PX
from augengine.kernels.gpu_tiles import (
    find_tile,
    kernel,
    long_words,
    place,
    short_words,
    write_pairs,
    write_view,
)

_FLAT_TILE, _TILE_PX = tl.constexpr(FLAT_TILE), tl.constexpr(TILE_PX)
_SUMS_AT_ONCE = tl.constexpr(128)
_PIXELS, _SIZE, _SUMS = place("pixels"), place("size"), place("sums")
_NUM_OPS, _CONTRAST_AT, _RADIUS = (place(n) for n in ("num_ops", "contrast_at", "radius"))


@kernel
def contrast_views(
    p_section,  # int32 - of this launch
    p_long,  # int64 - the records
    p_word,  # int32 - the same
    p_float,  # float32 - the same
    p_kept,  # int64 or float16 - scratch: pixels
    p_floats,  # float32 - scratch: sums of gray
    DTYPE: tl.constexpr,  # of the views
    ALIGNED: tl.constexpr,  # 16-bit views, all sizes multiples of 8
):
    """Go on with one tile of one view."""
    view, tile = find_tile(p_section)
    p_long, p_word = long_words(p_long, view), short_words(p_word, view)
    p_float = short_words(p_float, view)
    size = tl.load(p_word + _SIZE)
    if ALIGNED:
        size = tl.multiple_of(size, 8)
    at = tile * _FLAT_TILE + tl.arange(0, _FLAT_TILE)
    inside = at < size * size
    p_view = p_kept + tl.multiple_of(tl.load(p_long + _PIXELS), 8)
    red, green, blue = kept(p_view, at, inside, size)
    mean = gray_mean(p_floats + tl.load(p_word + _SUMS), size)
    first, last = tl.load(p_word + _CONTRAST_AT), tl.load(p_word + _NUM_OPS)
    red, green, blue = adjust(red, green, blue, p_word, p_float, first, last, mean)
    if tl.load(p_word + _RADIUS) > 0:
        keep(p_view, at, inside, size, red, green, blue)
    elif ALIGNED:
        left = tile * _FLAT_TILE + 2 * tl.arange(0, _FLAT_TILE // 2)
        write_pairs(red, green, blue, left, left < size * size, p_long, p_float, DTYPE)
    else:
        write_view(red, green, blue, at, inside, p_long, p_float, DTYPE)


@kernel
def gray_mean(p_sums, size):
    """The mean of the gray image from its tiles' sums, always added in the same order."""
    across = (size + _TILE_PX - 1) // _TILE_PX
    tiles = across * across
    tile = tl.arange(0, _SUMS_AT_ONCE)
    sums = tl.zeros([_SUMS_AT_ONCE], tl.float32)
    first = 0
    while first < tiles:
        sums += tl.load(p_sums + first + tile, mask=first + tile < tiles, other=0.0)
        first += _SUMS_AT_ONCE
    return tl.sum(sums, axis=0) / (size * size)
