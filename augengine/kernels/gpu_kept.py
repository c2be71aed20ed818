"""Pixels kept between launches: of views that are not finished, in one of two forms.

Where the views are float32, a pixel is one int64: three channels of 21 bits, x * (2^21 - 1)
rounded. That is within 2.4e-7 of x, no worse than four roundings of float32, in two thirds of its
bytes; and a pixel is one load, not three.

Where they are bfloat16 or float16, a view is three planes of float16. That is within 2.4e-4 of x,
0.06 levels of 255, where the view's own rounding is up to 0.5 (bfloat16, at two standard
deviations); tensor cores take it as it lies, and packing costs a conversion and no arithmetic.
"""

import triton.language as tl

from augengine.kernels.gpu_tiles import kernel

_LEVELS = tl.constexpr(2**21 - 1)
_PLANE_UNIT = tl.constexpr(8)  # float16 numbers: a plane begins where 16 bytes do


@kernel
def plane_stride(size):
    """Numbers from one plane of a view to the next."""
    return (size * size + (_PLANE_UNIT - 1)) // _PLANE_UNIT * _PLANE_UNIT


@kernel
def keep(p_view, at, inside, size, red, green, blue):
    """Write pixels in [0, 1]; `at` - their numbers in the view, or in its transpose."""
    if p_view.dtype.element_ty == tl.int64:
        # A value of all levels and a half is cut.
        r = tl.minimum(red * _LEVELS + 0.5, _LEVELS).to(tl.int32)
        g = tl.minimum(green * _LEVELS + 0.5, _LEVELS).to(tl.int32)
        b = tl.minimum(blue * _LEVELS + 0.5, _LEVELS).to(tl.int32)
        pixel = r.to(tl.int64) | (g.to(tl.int64) << 21) | (b.to(tl.int64) << 42)
        tl.store(p_view + at, pixel, mask=inside)
    else:
        plane = plane_stride(size)
        tl.store(p_view + at, red.to(tl.float16), mask=inside)
        tl.store(p_view + plane + at, green.to(tl.float16), mask=inside)
        tl.store(p_view + 2 * plane + at, blue.to(tl.float16), mask=inside)


@kernel
def kept(p_view, at, inside, size):
    """Read pixels: three tensors of float32 in [0, 1], 0 outside."""
    if p_view.dtype.element_ty == tl.int64:
        pixel = tl.load(p_view + at, mask=inside, other=0)
        red = (pixel & _LEVELS).to(tl.int32).to(tl.float32) * (1.0 / _LEVELS)
        green = ((pixel >> 21) & _LEVELS).to(tl.int32).to(tl.float32) * (1.0 / _LEVELS)
        blue = (pixel >> 42).to(tl.int32).to(tl.float32) * (1.0 / _LEVELS)
    else:
        plane = plane_stride(size)
        red = tl.load(p_view + at, mask=inside, other=0.0).to(tl.float32)
        green = tl.load(p_view + plane + at, mask=inside, other=0.0).to(tl.float32)
        blue = tl.load(p_view + 2 * plane + at, mask=inside, other=0.0).to(tl.float32)
    return red, green, blue
