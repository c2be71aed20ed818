"""How far a backend may be from `augengine.reference`, per op: one table, in levels of 0 to 255.

The backends compute what the reference computes, in float32 where it has float64 between the ops;
what that leaves is a thousandth of a level. Where a bound is wider the table says why. Bounds hold
for every view on its own, on the CPU and, for the same reasons, on CUDA.
"""

from typing import NamedTuple


class Bound(NamedTuple):
    """Absolute difference over the pixels of one view, in levels."""

    mean: float
    max: float


FLOAT32 = Bound(0.002, 0.01)
# 16-bit views of the fused backend on CUDA have float16 between the steps: weights and sums are
# off by up to 0.06 levels each, colour multiplies that by up to 1.8, and float16 views are rounded.
FLOAT16 = Bound(0.1, 0.4)
# DALI takes its cubic kernel from a table and interpolates between its entries; seen on 5x7 pixels
# of a checkerboard, on photographs 0.01 and 0.07.
CUBIC_TABLE = Bound(0.12, 0.6)
# A pixel within rounding of the threshold may fall on its other side: at 128 that moves it by one
# level at most, and few pixels lie there: three of the 147 values of a 7-pixel view were seen.
THRESHOLD = Bound(0.1, 1.1)

# op -> backend -> bound; `bicubic` is the resize alone, and what a bicubic policy is held to.
BOUNDS: dict[str, dict[str, Bound]] = {
    "bilinear": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "bicubic": {"dali": CUBIC_TABLE, "kornia": FLOAT32, "fused": FLOAT32},
    "flip": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "vflip": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "rotate90": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "turned": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "brightness": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "contrast": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "saturation": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "hue": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "jitter": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "gray": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "blur": {"dali": FLOAT32, "kornia": FLOAT32, "fused": FLOAT32},
    "solarize": {"dali": THRESHOLD, "kornia": THRESHOLD, "fused": THRESHOLD},
    # Whole published policies; dino is bicubic, byol and dino solarize.
    "policy": {"dali": THRESHOLD, "kornia": THRESHOLD, "fused": THRESHOLD},
    "bicubic policy": {"dali": Bound(0.12, 1.7), "kornia": THRESHOLD, "fused": THRESHOLD},
}
