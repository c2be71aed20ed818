"""Launch 3 for 16-bit views: Gaussian blur along x and y at once, as products on tensor cores.

A tile of 32 x 32 pixels is `down @ pixels @ across`: the pixels that it sees, 16, 32, ... around
it, between two matrices of weights whose bands are the Gaussian. Sums are float32, factors float16
(gpu_kept.py says what that costs). A matrix depends on the place of the tile along its axis only,
because a reflected border is part of it; launch 1 writes one for each place, which x and y share.

Counted in code for sm_90, a pixel takes 78 instructions here and 350 in the two launches for
float32 views (12 taps); most of the products are with zeros, and still nine instructions a pixel
do them all. Tiles of 64 x 64 would see 96 x 96 pixels and multiply a quarter more; a launch for
each axis would multiply a third less and move 12 bytes more a pixel.
"""

import triton.language as tl

from augengine.kernels.gpu_blur import steepness, tap, total_of_taps
from augengine.kernels.gpu_kept import plane_stride
from augengine.kernels.gpu_task import REACH_UNIT, TILE_PX
from augengine.kernels.gpu_tiles import (
    find_tile,
    kernel,
    long_words,
    place,
    row_and_column,
    short_words,
    write_tile,
)

_TILE_PX, _REACH_UNIT = tl.constexpr(TILE_PX), tl.constexpr(REACH_UNIT)
_PIXELS, _SIZE, _RADIUS = place("pixels"), place("size"), place("radius")
_SIGMA = place("sigma")


@kernel
def blur_tiles(
    p_section,  # int32 - of this launch
    p_long,  # int64 - the records
    p_word,  # int32 - the same
    p_float,  # float32 - the same
    p_kept,  # float16 - scratch: pixels, and behind a view's its matrices
    p_floats,  # float32 - scratch, not used here
    DTYPE: tl.constexpr,  # of the views
    ALIGNED: tl.constexpr,  # all sizes are multiples of 8
):
    """Blur one tile of one view and finish it."""
    view, tile = find_tile(p_section)
    tile_y, tile_x = row_and_column(tile)
    p_long, p_word = long_words(p_long, view), short_words(p_word, view)
    p_float = short_words(p_float, view)
    size, reach = tl.load(p_word + _SIZE), reach_of(tl.load(p_word + _RADIUS))
    if ALIGNED:
        size = tl.multiple_of(size, 8)
    left, top = tile_x * _TILE_PX, tile_y * _TILE_PX
    p_red = p_kept + tl.multiple_of(tl.load(p_long + _PIXELS), 8)
    p_green = p_red + plane_stride(size)
    p_blue = p_green + plane_stride(size)
    p_weights = p_blue + plane_stride(size)
    rows_a_matrix = _TILE_PX + 2 * reach
    p_across = p_weights + tile_x * rows_a_matrix * _TILE_PX
    p_down = p_weights + tile_y * rows_a_matrix * _TILE_PX
    span = tl.arange(0, _TILE_PX)
    zeros = tl.zeros([_TILE_PX, _TILE_PX], tl.float32)
    red, green, blue = zeros, zeros, zeros
    # Along y first: a product's sums then lie as the next one wants its left factor.
    j = 0
    while j < rows_a_matrix:
        column = left - reach + j + span
        r, g, b = zeros, zeros, zeros
        i = 0
        while i < rows_a_matrix:
            row = top - reach + i + span
            inside = ((row >= 0) & (row < size))[:, None] & ((column >= 0) & (column < size))[None]
            at = row[:, None] * size + column[None, :]
            down = tl.trans(tl.load(p_down + (i + span)[:, None] * _TILE_PX + span[None, :]))
            r = tl.dot(down, tl.load(p_red + at, mask=inside, other=0.0), r)
            g = tl.dot(down, tl.load(p_green + at, mask=inside, other=0.0), g)
            b = tl.dot(down, tl.load(p_blue + at, mask=inside, other=0.0), b)
            i += _TILE_PX
        across = tl.load(p_across + (j + span)[:, None] * _TILE_PX + span[None, :])
        red = tl.dot(r.to(tl.float16), across, red)
        green = tl.dot(g.to(tl.float16), across, green)
        blue = tl.dot(b.to(tl.float16), across, blue)
        j += _TILE_PX
    write_tile(red, green, blue, top, left, size, p_long, p_float, DTYPE, ALIGNED)


@kernel
def write_matrix(number, p_word, p_float, p_view):
    """The weights of the pixels that tile `number` of an axis sees in the tile's own.

    Pixel i is seen where it lies and, in a reflected border, at -i and 2 (S - 1) - i.
    """
    size, radius = tl.load(p_word + _SIZE), tl.load(p_word + _RADIUS)
    reach, steep = reach_of(radius), steepness(tl.load(p_float + _SIGMA))
    scale = 1.0 / total_of_taps(radius, steep)
    rows = _TILE_PX + 2 * reach
    span = tl.arange(0, _TILE_PX)
    o = (number * _TILE_PX + span)[None, :]
    p_matrix = p_view + 3 * plane_stride(size) + number * rows * _TILE_PX
    k = 0
    while k < rows:
        i = (number * _TILE_PX - reach + k + span)[:, None]
        weight = tap(i - o, radius, steep)
        if number * _TILE_PX < radius:
            weight += tl.where(i > 0, tap(i + o, radius, steep), 0.0)
        if number * _TILE_PX + _TILE_PX + radius > size:
            weight += tl.where(i < size - 1, tap(2 * (size - 1) - i - o, radius, steep), 0.0)
        weight = tl.where((i >= 0) & (i < size), weight * scale, 0.0)
        at = (k + span)[:, None] * _TILE_PX + span[None, :]
        tl.store(p_matrix + at, weight.to(tl.float16))
        k += _TILE_PX


@kernel
def reach_of(radius):
    """Pixels around a tile that are looked at: tiles of the products begin where 32 bytes do."""
    return (radius + _REACH_UNIT - 1) // _REACH_UNIT * _REACH_UNIT
