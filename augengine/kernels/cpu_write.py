"""The last step of a view: solarize, normalise, and write channels_last in the wanted type."""

import numpy as np

from augengine.kernels.jit import half_bits, helper

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
def write_float32(red, green, blue, scale, shift, out):
    """`out[3 i + c] = plane_c[i] * scale[c] + shift[c]`."""
    for i in range(red.size):
        out[3 * i] = red[i] * scale[0] + shift[0]
        out[3 * i + 1] = green[i] * scale[1] + shift[1]
        out[3 * i + 2] = blue[i] * scale[2] + shift[2]


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
