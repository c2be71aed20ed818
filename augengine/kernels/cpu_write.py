"""The last step of a view: solarize, normalise, and write channels_last in the wanted type."""

import numpy as np

from augengine.kernels.cpu_vector import (
    add_product,
    load,
    red_green_0,
    red_green_1,
    red_green_2,
    spread_from,
    store,
    stream,
    with_blue_0,
    with_blue_1,
    with_blue_2,
)
from augengine.kernels.jit import half_bits, helper, inlined

# A value equal to the threshold in exact arithmetic reaches it, whatever rounding has done to it.
THRESHOLD_SLACK = np.float32(1e-6)
ONE = np.float32(1)
FLOAT32, FLOAT16, BFLOAT16 = range(3)  # what a view is written as
HALF_BELOW = np.uint32(0x7FFF)  # what rounds a float32 to the nearest bfloat16, half to even
HIGH_HALF = np.uint32(16)
LOWEST_BIT = np.uint32(1)


@helper
def solarize(plane, threshold):
    """`1 - x` where `x` reaches the threshold."""
    reached = threshold - THRESHOLD_SLACK
    for i in range(plane.size):
        x = plane[i]
        plane[i] = ONE - x if x >= reached else x


@helper
def write_float32(red, green, blue, scale, shift, out, is_streamed):
    """`out[3 i + c] = plane_c[i] * scale[c] + shift[c]`.

    Streamed, it goes past the caches: a batch is larger than they are, and what is in them is
    needed for the next view. For that `out` lies at a multiple of 64 bytes.
    """
    whole = red.size // 16 * 16
    for i in range(0, whole, 16):
        r = add_product(spread_from(shift, 0), load(red, i), spread_from(scale, 0))
        g = add_product(spread_from(shift, 1), load(green, i), spread_from(scale, 1))
        b = add_product(spread_from(shift, 2), load(blue, i), spread_from(scale, 2))
        put(out, 3 * i, with_blue_0(red_green_0(r, g), b), is_streamed)
        put(out, 3 * i + 16, with_blue_1(red_green_1(r, g), b), is_streamed)
        put(out, 3 * i + 32, with_blue_2(red_green_2(r, g), b), is_streamed)
    for i in range(whole, red.size):
        out[3 * i] = red[i] * scale[0] + shift[0]
        out[3 * i + 1] = green[i] * scale[1] + shift[1]
        out[3 * i + 2] = blue[i] * scale[2] + shift[2]


@inlined
def put(out, at, x, is_streamed):
    """Store a vector."""
    if is_streamed:
        stream(out, at, x)
    else:
        store(out, at, x)


@helper
def round_to_bfloat16(line, out):
    """Floats as the bits of the nearest bfloat16, half to even; `out` is uint16."""
    bits = line.view(np.uint32)
    for i in range(out.size):
        rounded = bits[i] + HALF_BELOW + ((bits[i] >> HIGH_HALF) & LOWEST_BIT)
        out[i] = np.uint16(rounded >> HIGH_HALF)


@helper
def round_to_float16(line, out):
    """Floats as the bits of the nearest float16, half to even; `out` is uint16."""
    for i in range(out.size):
        out[i] = half_bits(line[i])
