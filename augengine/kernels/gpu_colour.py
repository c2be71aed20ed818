"""The colour operations on a tile of pixels, three tensors of one shape, each clamped to [0, 1].

The ops of a view run in a loop over its own list, so a program branches on scalars and spends
nothing on an op that its view does not have. Formulas and their order: reference.py.
"""

import triton.language as tl

from augengine.kernels.gpu_task import GRAY
from augengine.kernels.gpu_tiles import kernel, place
from augengine.plan import BRIGHTNESS, CONTRAST, HUE, SATURATION

_BRIGHTNESS, _CONTRAST = tl.constexpr(BRIGHTNESS), tl.constexpr(CONTRAST)
_SATURATION, _HUE, _GRAY = tl.constexpr(SATURATION), tl.constexpr(HUE), tl.constexpr(GRAY)
_OPS, _AMOUNTS = place("ops"), place("amounts")


@kernel
def clamp(x):
    """`x` cut to [0, 1]."""
    return tl.minimum(tl.maximum(x, 0.0), 1.0)


@kernel
def gray_of(red, green, blue):
    """The gray image."""
    return 0.299 * red + 0.587 * green + 0.114 * blue


@kernel
def adjust(red, green, blue, p_word, p_float, first, last, mean):
    """Run the ops from number `first` to `last`; contrast turns about `mean`, that of the gray."""
    k = first
    while k < last:
        op = tl.load(p_word + _OPS + k)
        amount = tl.load(p_float + _AMOUNTS + k)
        if op == _HUE:
            red, green, blue = turn_hue(red, green, blue, amount)
        elif op == _GRAY:
            gray = clamp(gray_of(red, green, blue))
            red, green, blue = gray, gray, gray
        else:
            # Brightness blends with black, contrast with the mean, saturation with the gray image.
            rest = tl.zeros_like(red)
            if op == _SATURATION:
                rest = gray_of(red, green, blue) * (1 - amount)
            if op == _CONTRAST:
                rest += mean * (1 - amount)
            red = clamp(red * amount + rest)
            green = clamp(green * amount + rest)
            blue = clamp(blue * amount + rest)
        k += 1
    return red, green, blue


@kernel
def turn_hue(red, green, blue, sixths):
    """Turn the hue: to (sector, value, chroma) and back by `value - chroma * ramp(sector)`.

    With the sector s in [0, 6), red is v - c + c * clamp(|s - 3| - 1), green is
    v - c + c * clamp(2 - |s - 2|), blue v - c + c * clamp(2 - |s - 4|): HSV without a case.
    """
    value = tl.maximum(tl.maximum(red, green), blue)
    low = tl.minimum(tl.minimum(red, green), blue)
    chroma = value - low
    # Gray has no hue: a divisor of 1 gives it 0, and no chroma keeps it gray.
    scale = 1.0 / tl.where(chroma > 0, chroma, 1.0)
    sector = 4 + (red - green) * scale
    sector = tl.where(value == green, 2 + (blue - red) * scale, sector)
    sector = tl.where(value == red, (green - blue) * scale, sector)
    sector += sixths
    sector = tl.where(sector >= 6, sector - 6, sector)
    sector = tl.where(sector < 0, sector + 6, sector)
    return (
        clamp(low + chroma * clamp(tl.abs(sector - 3) - 1)),
        clamp(low + chroma * clamp(2 - tl.abs(sector - 2))),
        clamp(low + chroma * clamp(2 - tl.abs(sector - 4))),
    )
