"""Launch 1 for 16-bit views: as gpu_resize.py, with the resize as products on tensor cores.

A tile of 32 x 32 pixels is `down @ pixels @ across`: the window's pixels that it sees, between two
matrices of weights, made here from the distances. Levels of 0 to 255 are exact in float16, sums are
float32; what is rounded are the weights, whose rounded sum divides in the end so that a flat image
stays as it is, and the image between the two products, by at most 0.06 levels.

A scalar kernel sums each input row for a few output rows, so its work grows with the taps; here it
grows with the pixels that are seen. Counted in code for sm_90, a window 1.4 times as wide as its
view: 140 instructions an output pixel in place of 190, bicubic 190 in place of 670.

Legend: S crop side; j input, i output pixel of an axis. In units of half an input pixel over S,
(2 j + 1) S - (2 i + 1) in_px is their distance: an integer, so no rounding moves a pixel.
"""

import triton.language as tl

from augengine.kernels.gpu_blur_half import write_matrix
from augengine.kernels.gpu_colour import adjust, clamp, gray_of
from augengine.kernels.gpu_kept import keep
from augengine.kernels.gpu_resize import weigh
from augengine.kernels.gpu_task import TILE_PX
from augengine.kernels.gpu_tiles import (
    find_tile,
    kernel,
    long_words,
    place,
    row_and_column,
    short_words,
    write_tile,
)

_TILE_PX = tl.constexpr(TILE_PX)
_ORIGIN, _PIXELS = place("origin"), place("pixels")
_HEIGHT, _WIDTH, _STRIDE = place("height"), place("width"), place("stride")
_LAST_WORD, _SIZE, _FLIP, _BICUBIC = (place(n) for n in ("last_word", "size", "flip", "bicubic"))
_NUM_OPS, _CONTRAST_AT, _RADIUS = (place(n) for n in ("num_ops", "contrast_at", "radius"))
_SUMS = place("sums")
# Pixels of one product, along y and along x.
_ROWS, _COLUMNS = tl.constexpr(16), tl.constexpr(32)
_SLACK_PX = tl.constexpr(1 / 128)
_NOWHERE = tl.constexpr(1e9)  # taps: so far away that nothing weighs


@kernel
def resize_tiles(
    p_section,  # int32 - of this launch
    p_long,  # int64 - the records
    p_word,  # int32 - the same
    p_float,  # float32 - the same
    p_kept,  # float16 - scratch: pixels, and behind a view's its matrices
    p_floats,  # float32 - scratch: sums of gray
    DTYPE: tl.constexpr,  # of the views
    ALIGNED: tl.constexpr,  # all sizes are multiples of 8
):
    """Make one tile of one view, as far as it goes without the rest of the view."""
    view, tile = find_tile(p_section)
    tile_y, tile_x = row_and_column(tile)
    p_long, p_word = long_words(p_long, view), short_words(p_word, view)
    p_float = short_words(p_float, view)
    size, radius = tl.load(p_word + _SIZE), tl.load(p_word + _RADIUS)
    if ALIGNED:
        size = tl.multiple_of(size, 8)
    num_ops, contrast_at = tl.load(p_word + _NUM_OPS), tl.load(p_word + _CONTRAST_AT)
    left, top = tile_x * _TILE_PX, tile_y * _TILE_PX
    if tl.load(p_word + _BICUBIC) != 0:
        red, green, blue = resample(left, top, size, p_long, p_word, 2)
    else:
        red, green, blue = resample(left, top, size, p_long, p_word, 1)
    red, green, blue = adjust(red, green, blue, p_word, p_float, 0, contrast_at, 0.0)
    p_view = p_kept + tl.multiple_of(tl.load(p_long + _PIXELS), 8)
    span = tl.arange(0, _TILE_PX)
    row, column = (top + span)[:, None], (left + span)[None, :]
    inside = (row < size) & (column < size)
    if (radius > 0) | (contrast_at < num_ops):
        keep(p_view, row * size + column, inside, size, red, green, blue)
    else:
        write_tile(red, green, blue, top, left, size, p_long, p_float, DTYPE, ALIGNED)
    if contrast_at < num_ops:
        gray = tl.where(inside, gray_of(red, green, blue), 0.0)
        total = tl.sum(tl.sum(gray, axis=0), axis=0)
        across = (size + _TILE_PX - 1) // _TILE_PX
        tl.store(p_floats + tl.load(p_word + _SUMS) + tile_y * across + tile_x, total)
    if (radius > 0) & (tile_y == 0):
        write_matrix(tile_x, p_word, p_float, p_view)


@kernel
def resample(left, top, size, p_long, p_word, REACH: tl.constexpr):
    """The tile at `left`, `top`: three tensors [32, 32] float32 in [0, 1].

    REACH - of the filter, in taps: 1 bilinear, 2 bicubic.
    """
    height, width = tl.load(p_word + _HEIGHT), tl.load(p_word + _WIDTH)
    stride, last = tl.load(p_word + _STRIDE), tl.load(p_word + _LAST_WORD)
    origin = tl.load(p_long + _ORIGIN)
    # The aligned word that the window begins in, and where in it.
    p_words = (origin - (origin & 3)).to(tl.pointer_type(tl.uint32))
    start = (origin & 3).to(tl.int32)
    # Outside of the view its last row and column once more, which are not written.
    span = tl.arange(0, _TILE_PX)
    y, x = tl.minimum(span, size - 1 - top), tl.minimum(left + span, size - 1)
    first_x, last_x = left, tl.minimum(left + _TILE_PX, size) - 1
    if tl.load(p_word + _FLIP) != 0:
        first_x, last_x = size - 1 - last_x, size - 1 - first_x
        x = size - 1 - x
    row, end_row = seen(top, tl.minimum(top + _TILE_PX, size) - 1, height, size, REACH)
    column, end_column = seen(first_x, last_x, width, size, REACH)
    row_total = total_weight(y, top, height, size, REACH)
    column_total = total_weight(x - first_x, first_x, width, size, REACH)
    zeros = tl.zeros([_TILE_PX, _TILE_PX], tl.float32)
    red, green, blue = zeros, zeros, zeros
    while column < end_column:
        r = tl.zeros([_TILE_PX, _COLUMNS], tl.float32)
        g, b = r, r
        eights = (column + 8 * tl.arange(0, _COLUMNS // 8))[None, :]
        last_needed = tl.where(eights < end_column, last, -1)
        k = row
        while k < end_row:
            rows = k + tl.arange(0, _ROWS)
            down = weight(y[:, None], top, rows[None, :], height, size, REACH)
            at = (rows * stride)[:, None] + (start + 3 * eights)
            needed = tl.where((rows < end_row)[:, None], last_needed, -1)
            levels_r, levels_g, levels_b = load_levels(p_words, at, needed)
            r = tl.dot(down, levels_r, r)
            g = tl.dot(down, levels_g, g)
            b = tl.dot(down, levels_b, b)
            k += _ROWS
        columns = column + tl.arange(0, _COLUMNS)
        across = weight(x[None, :] - first_x, first_x, columns[:, None], width, size, REACH)
        # A product's sums lie as the next one wants its left factor.
        red = tl.dot(r.to(tl.float16), across, red)
        green = tl.dot(g.to(tl.float16), across, green)
        blue = tl.dot(b.to(tl.float16), across, blue)
        column += _COLUMNS
    scale = (1.0 / (255.0 * row_total))[:, None] * (1.0 / column_total)[None, :]
    return clamp(red * scale), clamp(green * scale), clamp(blue * scale)


@kernel
def seen(first, last, in_px, size, REACH: tl.constexpr):
    """The input pixels that weigh in output pixels from `first` to `last`: the first, the end.

    In float32, so it may be a pixel more; that one has no weight.
    """
    scale = in_px.to(tl.float32) / size
    reach = REACH * tl.maximum(scale, 1.0) + _SLACK_PX
    begin = tl.floor((first + 0.5) * scale - reach + 0.5).to(tl.int32)
    end = tl.ceil((last + 0.5) * scale + reach - 0.5).to(tl.int32)
    return tl.maximum(begin, 0), tl.minimum(end, in_px)


@kernel
def weight(i, first, j, in_px, size, REACH: tl.constexpr):
    """Of input pixels `j` in output pixels `first + i`, as float16; the sums are about 1."""
    tap = 0.5 / tl.maximum(in_px, size)
    here = ((2 * j + 1) * size - (2 * first + 1) * in_px).to(tl.float32) * tap
    here = tl.where(j < in_px, here, _NOWHERE)
    distance = here - (2 * i * in_px).to(tl.float32) * tap
    # As in a mean: sums of hundreds of taps would leave the range of float16.
    return (weigh(distance, REACH) * tl.minimum(2 * size * tap, 1.0)).to(tl.float16)


@kernel
def total_weight(i, first, in_px, size, REACH: tl.constexpr):
    """[I] float32: the sum of all weights in output pixels `first + i`."""
    j, end = seen(first + i, first + i, in_px, size, REACH)
    total = tl.zeros([i.shape[0]], tl.float32)
    k = 0
    num_taps = tl.max(end - j, axis=0)
    while k < num_taps:
        total += weight(i, first, j + k, in_px, size, REACH).to(tl.float32)
        k += 1
    return total


@kernel
def load_levels(p_words, at, last):
    """The eight pixels from each byte `at` on: three tensors [Y, 8 X] float16.

    What lies behind the word `last` is not read, and is 0 or, from the last word read, any number.
    """
    word = at >> 2
    p = p_words + word
    a = tl.load(p, mask=word <= last, other=0)
    b = tl.load(p + 1, mask=word < last, other=0)
    c = tl.load(p + 2, mask=word < last - 1, other=0)
    d = tl.load(p + 3, mask=word < last - 2, other=0)
    e = tl.load(p + 4, mask=word < last - 3, other=0)
    f = tl.load(p + 5, mask=word < last - 4, other=0)
    g = tl.load(p + 6, mask=word < last - 5, other=0)
    shift = ((at & 3) * 8).to(tl.uint32)
    # Never a shift by 32, which has no meaning: left by one, then by 31 - shift.
    rest = shift ^ 31
    a = (a >> shift) | ((b << 1) << rest)
    b = (b >> shift) | ((c << 1) << rest)
    c = (c >> shift) | ((d << 1) << rest)
    d = (d >> shift) | ((e << 1) << rest)
    e = (e >> shift) | ((f << 1) << rest)
    f = (f >> shift) | ((g << 1) << rest)
    # r0 g0 b0 r1 | g1 b1 r2 g2 | b2 r3 g3 b3 | r4 g4 b4 r5 | g5 b5 r6 g6 | b6 r7 g7 b7
    red = in_a_row(a, a >> 24, b >> 16, c >> 8, d, d >> 24, e >> 16, f >> 8)
    green = in_a_row(a >> 8, b, b >> 24, c >> 16, d >> 8, e, e >> 24, f >> 16)
    blue = in_a_row(a >> 16, b >> 8, c, c >> 24, d >> 16, e >> 8, f, f >> 24)
    return red, green, blue


@kernel
def in_a_row(x0, x1, x2, x3, x4, x5, x6, x7):
    """The low bytes of every eighth pixel of a row, each [Y, X]: all pixels, [Y, 8 X] float16."""
    even = tl.join(tl.join(x0, x4), tl.join(x2, x6))
    eights = tl.join(even, tl.join(tl.join(x1, x5), tl.join(x3, x7)))
    return tl.reshape((eights & 255).to(tl.float16), [x0.shape[0], 8 * x0.shape[1]])
