"""Parts that all GPU kernels share: who does which tile, and the end of a view."""

from collections.abc import Callable
from typing import Any

import triton
import triton.language as tl

from augengine.kernels.gpu_task import ROW_SHIFT, VIEW_TASK
from augengine.plan import NO_SOLARIZE

# A value equal to the threshold in exact arithmetic reaches it, whatever rounding has done to it:
# that of float32, or of float16 where the views are of 16 bits.
_SLACK, _HALF_SLACK = tl.constexpr(1e-6), tl.constexpr(2**-12)
_NO_SOLARIZE = tl.constexpr(NO_SOLARIZE)
_ROW_SHIFT, _COLUMN_MASK = tl.constexpr(ROW_SHIFT), tl.constexpr((1 << ROW_SHIFT) - 1)


def kernel(function: Callable[..., Any]) -> Any:
    """As triton.jit, but typed as what other kernels call."""
    return triton.jit(function)


def place(name: str) -> tl.constexpr:
    """The number of a field of VIEW_TASK among words of its own width, as kernels need it."""
    assert VIEW_TASK.fields is not None
    dtype, offset = VIEW_TASK.fields[name][:2]
    return tl.constexpr(offset // dtype.base.itemsize)


_LONGS = tl.constexpr(VIEW_TASK.itemsize // 8)
_WORDS = tl.constexpr(VIEW_TASK.itemsize // 4)
_OUT, _SOLARIZE, _SCALE, _SHIFT = (place(name) for name in ("out", "solarize", "scale", "shift"))


@kernel
def find_tile(p_section):
    """The number of this program's record, and that of its tile."""
    p_mine = p_section + 2 * tl.program_id(0)
    return tl.load(p_mine), tl.load(p_mine + 1)


@kernel
def row_and_column(tile):
    """Of a square tile among those of its view."""
    return tile >> _ROW_SHIFT, tile & _COLUMN_MASK


@kernel
def long_words(p_long, view):
    """The record of a view as int64."""
    return p_long + view.to(tl.int64) * _LONGS


@kernel
def short_words(p_short, view):
    """The record of a view as int32 or float32."""
    return p_short + view.to(tl.int64) * _WORDS


@kernel
def finish(red, green, blue, p_float, DTYPE: tl.constexpr):
    """Solarize, normalise and convert pixels in [0, 1]."""
    threshold = tl.load(p_float + _SOLARIZE)
    if threshold < _NO_SOLARIZE:
        reached = threshold - (_SLACK if DTYPE == tl.float32 else _HALF_SLACK)
        red = tl.where(red >= reached, 1 - red, red)
        green = tl.where(green >= reached, 1 - green, green)
        blue = tl.where(blue >= reached, 1 - blue, blue)
    red = red * tl.load(p_float + _SCALE) + tl.load(p_float + _SHIFT)
    green = green * tl.load(p_float + _SCALE + 1) + tl.load(p_float + _SHIFT + 1)
    blue = blue * tl.load(p_float + _SCALE + 2) + tl.load(p_float + _SHIFT + 2)
    return red.to(DTYPE), green.to(DTYPE), blue.to(DTYPE)


@kernel
def write_view(red, green, blue, at, inside, p_long, p_float, DTYPE: tl.constexpr):
    """Finish pixels of a view and write them; `at` [...] int32 - their numbers in it."""
    red, green, blue = finish(red, green, blue, p_float, DTYPE)
    pointer = tl.pointer_type(DTYPE)  # pyright: ignore[reportArgumentType]
    p_out = tl.load(p_long + _OUT).to(pointer) + 3 * at
    tl.store(p_out, red, mask=inside)
    tl.store(p_out + 1, green, mask=inside)
    tl.store(p_out + 2, blue, mask=inside)


@kernel
def write_tile(
    red, green, blue, top, left, size, p_long, p_float, DTYPE: tl.constexpr, ALIGNED: tl.constexpr
):
    """Finish and write a square tile of a view; ALIGNED - 16-bit views of even sizes."""
    row = (top + tl.arange(0, red.shape[0]))[:, None]
    if ALIGNED:
        column = left + 2 * tl.arange(0, red.shape[1] // 2)[None, :]
        inside = (row < size) & (column < size)
        write_pairs(red, green, blue, row * size + column, inside, p_long, p_float, DTYPE)
    else:
        column = left + tl.arange(0, red.shape[1])[None, :]
        inside = (row < size) & (column < size)
        write_view(red, green, blue, row * size + column, inside, p_long, p_float, DTYPE)


@kernel
def write_pairs(red, green, blue, at, inside, p_long, p_float, DTYPE: tl.constexpr):
    """As `write_view`, for 16-bit views of an even size: two neighbours are three words.

    `at` and `inside`: of the left pixel of each pair, which has an even number.
    """
    red, green, blue = finish(red, green, blue, p_float, DTYPE)
    r0, r1 = in_pairs(red, at)
    g0, g1 = in_pairs(green, at)
    b0, b1 = in_pairs(blue, at)
    p_out = tl.load(p_long + _OUT).to(tl.pointer_type(tl.uint32)) + 3 * (at // 2)
    tl.store(p_out, in_one_word(r0, g0), mask=inside)
    tl.store(p_out + 1, in_one_word(b0, r1), mask=inside)
    tl.store(p_out + 2, in_one_word(g1, b1), mask=inside)


@kernel
def in_pairs(x, at):
    """The left and the right pixel of each pair along the last axis, in the shape of `at`."""
    return tl.split(tl.reshape(x, tl.join(at, at).shape))


@kernel
def in_one_word(low, high):
    """Two numbers of 16 bits as one uint32."""
    low = low.to(tl.uint16, bitcast=True).to(tl.uint32)
    return low | (high.to(tl.uint16, bitcast=True).to(tl.uint32) << 16)
