"""Launch 1: crop, antialiased resize, flip and the colour ops before contrast, a tile a program.

A view with neither contrast nor blur is finished here. Of a view with contrast each tile leaves the
sum of its gray image, in a place of its own: no atomics, so the mean is the same in every run.

A program is a warp, a tile 32 columns wide. For four output rows it goes once over the input rows
that they see, sums each along x, and adds it, weighed, to all four: at the usual scales of 1 to 2
an input row serves two output rows (four when bicubic), and its sums are most of the work. Along x
taps go in fours, which are twelve bytes: four aligned words, shifted together, of which the bytes
are picked in registers. A load a byte would ask the L1 cache three times as often.

Legend: S crop side; j input, i output pixel of an axis. In units of half an input pixel over S,
(2 j + 1) S - (2 i + 1) in_px is their distance: an integer, so no rounding moves a pixel.
"""

import triton.language as tl

from augengine.kernels.gpu_blur import write_taps
from augengine.kernels.gpu_colour import adjust, clamp, gray_of
from augengine.kernels.gpu_kept import keep
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
_ORIGIN, _PIXELS = place("origin"), place("pixels")
_HEIGHT, _WIDTH, _STRIDE = place("height"), place("width"), place("stride")
_LAST_WORD, _SIZE, _FLIP, _BICUBIC = (place(n) for n in ("last_word", "size", "flip", "bicubic"))
_NUM_OPS, _CONTRAST_AT, _RADIUS = (place(n) for n in ("num_ops", "contrast_at", "radius"))
_SUMS = place("sums")


@kernel
def resize_views(
    p_section,  # int32 - of this launch
    p_long,  # int64 - the records
    p_word,  # int32 - the same
    p_float,  # float32 - the same
    p_kept,  # int64 - scratch: pixels
    p_floats,  # float32 - scratch: sums of gray, weights of blurs
    DTYPE: tl.constexpr,  # of the views
    ROWS: tl.constexpr,  # made at once, a divisor of the tile
):
    """Make one tile of one view, as far as it goes without the rest of the view."""
    view, tile = find_tile(p_section)
    tile_y, tile_x = row_and_column(tile)
    p_long, p_word = long_words(p_long, view), short_words(p_word, view)
    p_float = short_words(p_float, view)
    size, radius = tl.load(p_word + _SIZE), tl.load(p_word + _RADIUS)
    num_ops, contrast_at = tl.load(p_word + _NUM_OPS), tl.load(p_word + _CONTRAST_AT)
    x = tile_x * _TILE_PX + tl.arange(0, _TILE_PX)
    bicubic, flip = tl.load(p_word + _BICUBIC), tl.load(p_word + _FLIP)
    height, width = tl.load(p_word + _HEIGHT), tl.load(p_word + _WIDTH)
    # Lanes outside of the view make its last column once more, and do not write it.
    source_x = tl.minimum(x, size - 1)
    source_x = tl.where(flip != 0, size - 1 - source_x, source_x)
    column = first_tap(source_x, width, size, 1 + bicubic)
    column_off = ((2 * column + 1) * size - (2 * source_x + 1) * width).to(tl.float32)
    rows_a_pixel = num_taps(height, size, 1 + bicubic)
    num_chunks = (num_taps(width, size, 1 + bicubic) + 3) // 4
    p_view = p_kept + tl.load(p_long + _PIXELS)
    top = tile_y * _TILE_PX
    end = tl.minimum(top + _TILE_PX, size)
    gray = tl.zeros([ROWS, _TILE_PX], tl.float32)
    while top < end:
        y = top + tl.arange(0, ROWS)
        row = first_tap(top, height, size, 1 + bicubic)
        # As above, for rows.
        source_y = tl.minimum(y, end - 1)
        row_off = ((2 * row + 1) * size - (2 * source_y + 1) * height).to(tl.float32)
        last_row = first_tap(tl.minimum(top + ROWS, end) - 1, height, size, 1 + bicubic)
        num_rows = tl.minimum(last_row + rows_a_pixel, height) - row
        if bicubic != 0:
            red, green, blue = resample(
                row, row_off, num_rows, column, column_off, num_chunks, size, p_long, p_word, 2
            )
        else:
            red, green, blue = resample(
                row, row_off, num_rows, column, column_off, num_chunks, size, p_long, p_word, 1
            )
        red, green, blue = adjust(red, green, blue, p_word, p_float, 0, contrast_at, 0.0)
        inside = (y < end)[:, None] & (x < size)[None, :]
        at = y[:, None] * size + x[None, :]
        if (radius > 0) | (contrast_at < num_ops):
            # Transposed where a blur follows: it goes along x first, down what are columns then.
            place = tl.where(radius > 0, x[None, :] * size + y[:, None], at)
            keep(p_view, place, inside, size, red, green, blue)
        else:
            write_view(red, green, blue, at, inside, p_long, p_float, DTYPE)
        if contrast_at < num_ops:
            gray += tl.where(inside, gray_of(red, green, blue), 0.0)
        top += ROWS
    if contrast_at < num_ops:
        total = tl.sum(tl.sum(gray, axis=0), axis=0)
        across = (size + _TILE_PX - 1) // _TILE_PX
        tl.store(p_floats + tl.load(p_word + _SUMS) + tile_y * across + tile_x, total)
    if (radius > 0) & (tile_y == 0) & (tile_x == 0):
        write_taps(p_word, p_float, p_floats)


@kernel
def resample(
    row,  # the first that weighs in the block, and how many there are
    row_off,  # [Y] float32 - its distance from each output row
    num_rows,
    column,  # [X] int32 - the first that weighs in each output column
    column_off,  # [X] float32 - its distance
    num_chunks,  # of four columns
    size,
    p_long,
    p_word,
    REACH: tl.constexpr,  # of the kernel, pixels: 1 bilinear, 2 bicubic
):
    """A block of rows: three tensors [Y, X] float32 in [0, 1]."""
    height, width = tl.load(p_word + _HEIGHT), tl.load(p_word + _WIDTH)
    stride, last = tl.load(p_word + _STRIDE), tl.load(p_word + _LAST_WORD)
    origin = tl.load(p_long + _ORIGIN)
    # The aligned word that the window begins in, and where in it.
    p_words = (origin - (origin & 3)).to(tl.pointer_type(tl.uint32))
    start = (origin & 3).to(tl.int32)
    row_scale, column_scale = 0.5 / tl.maximum(height, size), 0.5 / tl.maximum(width, size)
    step = (2 * size).to(tl.float32)
    zeros = tl.zeros([row_off.shape[0], column_off.shape[0]], tl.float32)
    red, green, blue = zeros, zeros, zeros
    row_total, column_total = tl.zeros_like(row_off), tl.zeros_like(column_off)
    chunk = 0
    while chunk < num_chunks:
        j = column + 4 * chunk
        off = column_off + (4 * chunk) * step
        w0 = tl.where(j < width, weigh(off * column_scale, REACH), 0.0)
        w1 = tl.where(j + 1 < width, weigh((off + step) * column_scale, REACH), 0.0)
        w2 = tl.where(j + 2 < width, weigh((off + 2 * step) * column_scale, REACH), 0.0)
        w3 = tl.where(j + 3 < width, weigh((off + 3 * step) * column_scale, REACH), 0.0)
        column_total += (w0 + w1) + (w2 + w3)
        # A chunk that begins outside weighs nothing; it reads the window's last pixel.
        along = start + 3 * tl.minimum(j, width - 1)
        k = 0
        while k < num_rows:
            at = (row + k) * stride + along
            r0, g0, b0, r1, g1, b1, r2, g2, b2, r3, g3, b3 = load_pixels(p_words, at, last)
            weight = weigh((row_off + k * step) * row_scale, REACH)
            row_total += weight
            red += weight[:, None] * (w0 * r0 + w1 * r1 + w2 * r2 + w3 * r3)[None, :]
            green += weight[:, None] * (w0 * g0 + w1 * g1 + w2 * g2 + w3 * g3)[None, :]
            blue += weight[:, None] * (w0 * b0 + w1 * b1 + w2 * b2 + w3 * b3)[None, :]
            k += 1
        chunk += 1
    # The rows' weights were summed once a chunk.
    total = (row_total * (255.0 / num_chunks))[:, None] * column_total[None, :]
    scale = 1.0 / total
    return clamp(red * scale), clamp(green * scale), clamp(blue * scale)


@kernel
def first_tap(i, in_px, size, reach):
    """The first input pixel that may weigh in an output pixel."""
    before = (2 * i + 1) * in_px - 2 * reach * tl.maximum(in_px, size) - size
    # The least j with (2 j + 1) S > centre - reach; a division rounds towards 0, so none below 0.
    return tl.where(before >= 0, before // (2 * size) + 1, 0)


@kernel
def num_taps(in_px, size, reach):
    """Input pixels that may weigh in one output pixel."""
    return tl.minimum(in_px, (2 * reach * tl.maximum(in_px, size) + size - 1) // size)


@kernel
def weigh(distance, REACH: tl.constexpr):
    """Triangle, or Keys' cubic with a = -0.5."""
    d = tl.abs(distance)
    if REACH == 1:
        value = tl.maximum(1 - d, 0.0)
    else:
        near = (1.5 * d - 2.5) * d * d + 1
        far = ((-0.5 * d + 2.5) * d - 4) * d + 2
        value = tl.where(d < 1, near, tl.where(d < 2, far, 0.0))
    return value


@kernel
def load_pixels(p_words, at, last):
    """Four pixels from byte `at` on as float32: r g b r g b r g b r g b.

    What lies behind the image's last word is not read: those bytes are any numbers, and weigh 0.
    """
    word = at >> 2
    p = p_words + word
    a = tl.load(p)
    b = tl.load(p + 1, mask=word < last)
    c = tl.load(p + 2, mask=word < last - 1)
    d = tl.load(p + 3, mask=word < last - 2)
    shift = ((at & 3) * 8).to(tl.uint32)
    # Never a shift by 32, which has no meaning: left by one, then by 31 - shift.
    rest = shift ^ 31
    a = (a >> shift) | ((b << 1) << rest)
    b = (b >> shift) | ((c << 1) << rest)
    c = (c >> shift) | ((d << 1) << rest)
    # The last byte of a word as 2^23 + level, less 2^23: conversions alone would keep the slow unit
    # that does them busy for longer than all the rest takes.
    return (
        (a & 255).to(tl.float32),
        ((a >> 8) & 255).to(tl.float32),
        ((a >> 16) & 255).to(tl.float32),
        ((a >> 24) | 0x4B000000).to(tl.float32, bitcast=True) - 8388608.0,
        (b & 255).to(tl.float32),
        ((b >> 8) & 255).to(tl.float32),
        ((b >> 16) & 255).to(tl.float32),
        ((b >> 24) | 0x4B000000).to(tl.float32, bitcast=True) - 8388608.0,
        (c & 255).to(tl.float32),
        ((c >> 8) & 255).to(tl.float32),
        ((c >> 16) & 255).to(tl.float32),
        ((c >> 24) | 0x4B000000).to(tl.float32, bitcast=True) - 8388608.0,
    )
