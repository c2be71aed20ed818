"""Launches 3 and 4 for float32 views: Gaussian blur along x and then along y, a sum in float32.

Both go down columns: launch 1 keeps a view to be blurred transposed, launch 3 transposes it back.
A program is a warp, a tile 32 columns wide. For eight output rows it goes once over the input rows
that they see and adds each, weighed, to all eight: a pixel is loaded and unpacked for 24 sums.

The weights are written by launch 1, with a border of zeros, so that no lane has a case. Views of
16 bits are blurred by tensor cores: gpu_blur_half.py.
"""

import math

import triton.language as tl

from augengine.kernels.gpu_kept import keep, kept
from augengine.kernels.gpu_task import TILE_PX
from augengine.kernels.gpu_tiles import (
    find_tile,
    kernel,
    long_words,
    place,
    row_and_column,
    short_words,
    write_view,
)

_TILE_PX = tl.constexpr(TILE_PX)
_TAPS_AT_ONCE = tl.constexpr(64)
_ROOT_OF_HALF_LOG2_E = tl.constexpr((0.5 / math.log(2)) ** 0.5)
_PIXELS, _BLURRED = place("pixels"), place("blurred")
_SIZE, _RADIUS, _TAPS, _SIGMA = (place(name) for name in ("size", "radius", "taps", "sigma"))


@kernel
def blur_columns(
    p_section,  # int32 - of this launch
    p_long,  # int64 - the records
    p_word,  # int32 - the same
    p_float,  # float32 - the same
    p_kept,  # int64 - scratch: pixels
    p_floats,  # float32 - scratch: weights of blurs
    DTYPE: tl.constexpr,  # of the views
    ROWS: tl.constexpr,  # made at once, a divisor of the tile
    LAST: tl.constexpr,  # along y, and to the end
):
    """Blur one tile of one view down its columns."""
    view, tile = find_tile(p_section)
    tile_y, tile_x = row_and_column(tile)
    p_long, p_word = long_words(p_long, view), short_words(p_word, view)
    p_float = short_words(p_float, view)
    size, radius = tl.load(p_word + _SIZE), tl.load(p_word + _RADIUS)
    column = tile_x * _TILE_PX + tl.arange(0, _TILE_PX)
    p_blurred = p_kept + tl.load(p_long + _BLURRED)
    p_in = p_blurred if LAST else p_kept + tl.load(p_long + _PIXELS)
    p_middle = p_floats + tl.load(p_word + _TAPS) + (radius + _TILE_PX - 1)
    top = tile_y * _TILE_PX
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
            r, g, b = kept(p_in, inner * size + column, column < size, size)
            weight = tl.load(p_taps - j)[:, None]
            red += weight * r[None, :]
            green += weight * g[None, :]
            blue += weight * b[None, :]
            j += 1
        inside = (row < end)[:, None] & (column < size)[None, :]
        if LAST:
            at = row[:, None] * size + column[None, :]
            write_view(red, green, blue, at, inside, p_long, p_float, DTYPE)
        else:
            at = column[None, :] * size + row[:, None]
            keep(p_blurred, at, inside, size, red, green, blue)
        top += ROWS


@kernel
def write_taps(p_word, p_float, p_floats):
    """The 2 r + 1 weights of a view's blur, which sum to 1, between zeros for the tile's rows."""
    radius, steep = tl.load(p_word + _RADIUS), steepness(tl.load(p_float + _SIGMA))
    total = total_of_taps(radius, steep)
    last = radius + _TILE_PX - 1
    p_taps = p_floats + tl.load(p_word + _TAPS) + last
    first = -last
    while first <= last:
        k = first + tl.arange(0, _TAPS_AT_ONCE)
        tl.store(p_taps + k, tap(k, radius, steep) / total, mask=k <= last)
        first += _TAPS_AT_ONCE


@kernel
def total_of_taps(radius, steep):
    """The sum of the weights, not scaled."""
    total = 0.0
    first = -radius
    while first <= radius:
        total += tl.sum(tap(first + tl.arange(0, _TAPS_AT_ONCE), radius, steep), axis=0)
        first += _TAPS_AT_ONCE
    return total


@kernel
def tap(k, radius, steep):
    """The weight of a pixel `k` from the middle, not scaled: exp(-k^2 / (2 sigma^2))."""
    ratio = k.to(tl.float32) * steep
    return tl.where(tl.abs(k) <= radius, tl.exp2(-ratio * ratio), 0.0)


@kernel
def steepness(sigma):
    """The Gaussian is 2^-(k * steepness)^2."""
    return _ROOT_OF_HALF_LOG2_E / sigma
