"""Launches 3 and 4: separable Gaussian blur with a reflected border, along x and then along y.

Both go down columns: launch 1 stores a view to be blurred transposed, launch 3 transposes it back.
A program is a warp, a tile 32 columns wide. For eight output rows it goes once over the input rows
that they see and adds each, weighed, to all eight: a pixel is loaded and unpacked for 24 sums.

Why not otherwise, in instructions a pixel and direction for n = 12 taps, counted in code for sm_90
(58 a turn of this loop): this is 58 (8 + n - 1) / 8 = 138. Tap by tap an output pixel loads and
unpacks n pixels, about 14 n = 168. Products with banded matrices on tensor cores, exact enough from
halves in two terms, make 128 x 96 inputs of 64 x 64 pixels and the 22 around them: 3,400
multiplications a pixel for both directions, 7 ps at the 990 TFLOP/s of an H200's data sheet where
276 instructions take 9, and the matrices are still to be made. Both directions in one launch save
16 bytes a pixel (3.3 ps at 4.8 TB/s), but the first would go over 22 rows more than the 32 of a
tile (3.2 ps), and Triton hands a tile's columns to its rows through shared memory once a tap.

The weights are written by launch 1, with a border of zeros, so that no lane has a case.
"""

import triton.language as tl

from augengine.kernels.gpu_task import TILE_PX
from augengine.kernels.gpu_tiles import (
    LEVELS,
    find_tile,
    kernel,
    long_words,
    pack,
    place,
    short_words,
    unpack,
    write_view,
)

_TILE_PX = tl.constexpr(TILE_PX)
_TAPS_AT_ONCE = tl.constexpr(64)
_PIXELS, _BLURRED = place("pixels"), place("blurred")
_SIZE, _RADIUS, _TAPS, _SIGMA = (place(name) for name in ("size", "radius", "taps", "sigma"))


@kernel
def blur_views(
    p_section,  # int32 - of this launch
    p_long,  # int64 - the records
    p_word,  # int32 - the same
    p_float,  # float32 - the same
    p_pixels,  # int64 - scratch: packed pixels
    p_floats,  # float32 - scratch: weights of blurs
    DTYPE: tl.constexpr,  # of the views
    ROWS: tl.constexpr,  # made at once, a divisor of the tile
    LAST: tl.constexpr,  # along y, and to the end
):
    """Blur one tile of one view down its columns."""
    view, tile = find_tile(p_section)
    p_long, p_word = long_words(p_long, view), short_words(p_word, view)
    p_float = short_words(p_float, view)
    size, radius = tl.load(p_word + _SIZE), tl.load(p_word + _RADIUS)
    across = (size + _TILE_PX - 1) // _TILE_PX
    column = (tile % across) * _TILE_PX + tl.arange(0, _TILE_PX)
    p_blurred = p_pixels + tl.load(p_long + _BLURRED)
    p_in = p_blurred if LAST else p_pixels + tl.load(p_long + _PIXELS)
    p_in += tl.minimum(column, size - 1)
    p_middle = p_floats + tl.load(p_word + _TAPS) + (radius + _TILE_PX - 1)
    top = (tile // across) * _TILE_PX
    end = tl.minimum(top + _TILE_PX, size)
    while top < end:
        row = top + tl.arange(0, ROWS)
        # The weight of input row j in an output row lies (row - j) from the middle.
        p_taps = p_middle + row
        zeros = tl.zeros([ROWS, _TILE_PX], tl.float32)
        red, green, blue = zeros, zeros, zeros
        j = top - radius
        last = tl.minimum(top + ROWS, end) + radius
        while j < last:
            inner = tl.abs(j)
            inner = tl.minimum(inner, 2 * (size - 1) - inner)
            r, g, b = unpack(tl.load(p_in + inner * size))
            weight = tl.load(p_taps - j)[:, None]
            red += weight * r[None, :]
            green += weight * g[None, :]
            blue += weight * b[None, :]
            j += 1
        inside = (row < end)[:, None] & (column < size)[None, :]
        if LAST:
            at = row[:, None] * size + column[None, :]
            red, green, blue = red * (1.0 / LEVELS), green * (1.0 / LEVELS), blue * (1.0 / LEVELS)
            write_view(red, green, blue, at, inside, p_long, p_float, DTYPE)
        else:
            at = column[None, :] * size + row[:, None]
            tl.store(p_blurred + at, pack(red, green, blue), mask=inside)
        top += ROWS


@kernel
def write_taps(p_word, p_float, p_floats):
    """The 2 r + 1 weights of a view's blur, which sum to 1, between zeros for the tile's rows."""
    radius, sigma = tl.load(p_word + _RADIUS), tl.load(p_float + _SIGMA)
    last = radius + _TILE_PX - 1
    first = -last
    total = 0.0
    while first <= last:
        total += tl.sum(tap(first + tl.arange(0, _TAPS_AT_ONCE), radius, sigma), axis=0)
        first += _TAPS_AT_ONCE
    p_taps = p_floats + tl.load(p_word + _TAPS) + last
    first = -last
    while first <= last:
        k = first + tl.arange(0, _TAPS_AT_ONCE)
        tl.store(p_taps + k, tap(k, radius, sigma) / total, mask=k <= last)
        first += _TAPS_AT_ONCE


@kernel
def tap(k, radius, sigma):
    """The weight of a pixel `k` from the middle, not scaled."""
    ratio = k.to(tl.float32) / sigma
    return tl.where(tl.abs(k) <= radius, tl.exp(-0.5 * ratio * ratio), 0.0)
