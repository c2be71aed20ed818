"""The colour operations on a band of pixels in three planes, each clamped to [0, 1] in place.

A band is small enough for the first-level cache, so one function an operation costs little more
than one pass for all, and every loop is plain enough to run on vectors: no branch, no call, one
type. Formulas and their order: reference.py.
"""

import numpy as np

from augengine.kernels.jit import helper, summing
from augengine.plan import BRIGHTNESS, CONTRAST, HUE, SATURATION

GRAY = HUE + 1  # not a colour op of the plan's order, but always the last one here
SKIP = GRAY + 1
ZERO, ONE, TWO, THREE, FOUR, SIX = (np.float32(number) for number in (0, 1, 2, 3, 4, 6))
RED_WEIGHT, GREEN_WEIGHT, BLUE_WEIGHT = (np.float32(w) for w in (0.299, 0.587, 0.114))


@helper
def adjust_band(red, green, blue, task, first_op, last_op, mean):
    """Run these ops of the task on one band; `mean` is the gray mean that contrast turns about."""
    for k in range(first_op, last_op):
        op, amount = task.ops[k], task.amounts[k]
        if op == BRIGHTNESS:
            blend(red, amount, ZERO)
            blend(green, amount, ZERO)
            blend(blue, amount, ZERO)
        elif op == CONTRAST:
            shift = np.float32(mean * (1 - np.float64(amount)))
            blend(red, amount, shift)
            blend(green, amount, shift)
            blend(blue, amount, shift)
        elif op == SATURATION:
            adjust_saturation(red, green, blue, amount)
        elif op == HUE:
            adjust_hue(red, green, blue, amount)
        elif op == GRAY:
            to_gray(red, green, blue)


@helper
def clamp(x):
    """`x` cut to [0, 1]."""
    return min(max(x, ZERO), ONE)


@helper
def gray_of(red, green, blue):
    """The gray value of one pixel."""
    return RED_WEIGHT * red + GREEN_WEIGHT * green + BLUE_WEIGHT * blue


@helper
def blend(plane, factor, shift):
    """`plane * factor + shift`, clamped: brightness, and contrast once its mean is known."""
    for i in range(plane.size):
        plane[i] = clamp(plane[i] * factor + shift)


@summing
def gray_sum(red, green, blue):
    """Sum of the gray image of a band."""
    total = ZERO
    for i in range(red.size):
        total += gray_of(red[i], green[i], blue[i])
    return np.float64(total)


@helper
def adjust_saturation(red, green, blue, factor):
    """Blend every pixel with its gray value."""
    rest = ONE - factor
    for i in range(red.size):
        r, g, b = red[i], green[i], blue[i]
        gray = gray_of(r, g, b) * rest
        red[i] = clamp(r * factor + gray)
        green[i] = clamp(g * factor + gray)
        blue[i] = clamp(b * factor + gray)


@helper
def adjust_hue(red, green, blue, turns):
    """Turn the hue: to (sector, value, chroma) and back by `value - chroma * ramp(sector)`.

    With the sector s in [0, 6), red is v - c + c * clamp(|s - 3| - 1), green is
    v - c + c * clamp(2 - |s - 2|), blue v - c + c * clamp(2 - |s - 4|): HSV without a case.
    """
    turn = np.float32(6 * (np.float64(turns) - np.floor(np.float64(turns))))
    for i in range(red.size):
        r, g, b = red[i], green[i], blue[i]
        value = max(max(r, g), b)
        chroma = value - min(min(r, g), b)
        scale = ONE / (chroma if chroma > ZERO else ONE)
        sector = FOUR + (r - g) * scale
        sector = TWO + (b - r) * scale if value == g else sector
        sector = (g - b) * scale if value == r else sector
        sector += turn
        sector = sector - SIX if sector >= SIX else sector
        sector = sector + SIX if sector < ZERO else sector
        low = value - chroma
        red[i] = clamp(low + chroma * clamp(abs(sector - THREE) - ONE))
        green[i] = clamp(low + chroma * clamp(TWO - abs(sector - TWO)))
        blue[i] = clamp(low + chroma * clamp(TWO - abs(sector - FOUR)))


@helper
def to_gray(red, green, blue):
    """The gray image, in the first plane only: what follows reads that one three times."""
    for i in range(red.size):
        red[i] = clamp(gray_of(red[i], green[i], blue[i]))
