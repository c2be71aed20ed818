"""What all GPU kernels share: who does which tile, how a pixel is stored between launches, the end.

Between launches a pixel is one int64: three channels of 21 bits, x * (2^21 - 1) rounded. That is
within 2.4e-7 of x, no worse than four roundings of float32, in two thirds of its bytes; and a
pixel is one load, not three.
"""

from collections.abc import Callable
from typing import Any

import triton
import triton.language as tl

from augengine.kernels.gpu_task import HEAD_WORDS, RUN_WORDS, VIEW_TASK
from augengine.plan import NO_SOLARIZE

LEVELS = tl.constexpr(2**21 - 1)
_MASK = tl.constexpr(2**21 - 1)
# A value equal to the threshold in exact arithmetic reaches it, whatever rounding has done to it.
_THRESHOLD_SLACK = tl.constexpr(1e-6)
_NO_SOLARIZE = tl.constexpr(NO_SOLARIZE)
_HEAD, _RUN = tl.constexpr(HEAD_WORDS), tl.constexpr(RUN_WORDS)


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
    """The number of this program's record, and of its tile within the view."""
    programs, entries = tl.load(p_section), tl.load(p_section + 1)
    num_runs, entries_at = tl.load(p_section + 2), tl.load(p_section + 3)
    pid = tl.program_id(0)
    period, rest = pid // programs, pid % programs
    run = 0
    k = 1
    # `while`, since a range with a run-time end fails in the interpreter of Triton 3.6 on numpy 2.4
    while k < num_runs:
        run = tl.where(rest >= tl.load(p_section + _HEAD + _RUN * k), k, run)
        k += 1
    p_run = p_section + _HEAD + _RUN * run
    rest -= tl.load(p_run)
    tiles, first = tl.load(p_run + 1), tl.load(p_run + 2)
    view = tl.load(p_section + entries_at + period * entries + first + rest // tiles)
    return view, rest % tiles


@kernel
def long_words(p_long, view):
    """The record of a view as int64."""
    return p_long + view.to(tl.int64) * _LONGS


@kernel
def short_words(p_short, view):
    """The record of a view as int32 or float32."""
    return p_short + view.to(tl.int64) * _WORDS


@kernel
def pack(red, green, blue):
    """Channels in [0, LEVELS] as one int64; a value of LEVELS and a half is cut."""
    r = tl.minimum(red + 0.5, LEVELS).to(tl.int32)
    g = tl.minimum(green + 0.5, LEVELS).to(tl.int32)
    b = tl.minimum(blue + 0.5, LEVELS).to(tl.int32)
    return r.to(tl.int64) | (g.to(tl.int64) << 21) | (b.to(tl.int64) << 42)


@kernel
def unpack(pixel):
    """The channels of an int64 as float32 in [0, LEVELS]."""
    red = (pixel & _MASK).to(tl.int32).to(tl.float32)
    green = ((pixel >> 21) & _MASK).to(tl.int32).to(tl.float32)
    blue = (pixel >> 42).to(tl.int32).to(tl.float32)
    return red, green, blue


@kernel
def write_view(red, green, blue, at, inside, p_long, p_float, DTYPE: tl.constexpr):
    """Solarize, normalise and write pixels of a view; `at` [...] int32 - their numbers in it."""
    threshold = tl.load(p_float + _SOLARIZE)
    if threshold < _NO_SOLARIZE:
        reached = threshold - _THRESHOLD_SLACK
        red = tl.where(red >= reached, 1 - red, red)
        green = tl.where(green >= reached, 1 - green, green)
        blue = tl.where(blue >= reached, 1 - blue, blue)
    red = red * tl.load(p_float + _SCALE) + tl.load(p_float + _SHIFT)
    green = green * tl.load(p_float + _SCALE + 1) + tl.load(p_float + _SHIFT + 1)
    blue = blue * tl.load(p_float + _SCALE + 2) + tl.load(p_float + _SHIFT + 2)
    pointer = tl.pointer_type(DTYPE)  # pyright: ignore[reportArgumentType]
    p_out = tl.load(p_long + _OUT).to(pointer) + 3 * at
    tl.store(p_out, red.to(DTYPE), mask=inside)
    tl.store(p_out + 1, green.to(DTYPE), mask=inside)
    tl.store(p_out + 2, blue.to(DTYPE), mask=inside)
