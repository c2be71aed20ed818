"""The task of one view for the CPU kernel, a row of an array, and the buffers it is made in."""

import math
from typing import NamedTuple

import numpy as np

NUM_OPS = 5  # the four colour ops in the view's order, then gray
BAND_PX = 1024  # pixels of a band, unless four rows have more: three planes of it are 12 KiB
# Floats behind planes: a vector that starts in the last row may end there. They also keep planes
# from lying a multiple of 4 KiB apart.
PLANE_SLACK = 16
ALIGNMENT = 64  # bytes: a vector then lies in one cache line; two of them cost twice as much

# Addresses are of an uint8 image [H, W, 3] and of a view [S, S, 3].
VIEW_TASK = np.dtype(
    [
        ("image", np.int64),
        ("out", np.int64),
        ("image_height", np.int64),
        ("image_width", np.int64),
        ("top", np.int64),
        ("left", np.int64),
        ("height", np.int64),
        ("width", np.int64),
        ("size_px", np.int64),
        ("kernel_px", np.int64),
        ("contrast_at", np.int64),  # its place among the ops; NUM_OPS: none
        ("sigma", np.float64),
        ("amounts", np.float32, NUM_OPS),  # of each op
        ("solarize", np.float32),
        ("ops", np.uint8, NUM_OPS),  # BRIGHTNESS .. HUE, GRAY or SKIP
        ("flip", np.bool_),
        ("gray", np.bool_),
        ("bicubic", np.bool_),
    ],
    align=True,
)


class Scratch(NamedTuple):
    """Buffers of one thread; nothing in them outlives a view.

    They start as zeros and only ever hold finite numbers, so what weighs nothing adds nothing.
    """

    strip: np.ndarray  # [W, 4, 4] float32 - four rows of the window, resized vertically
    block: np.ndarray  # [16] float32 - four pixels of four rows
    planes: np.ndarray  # [3, S * S + slack] float32 - the view
    band: np.ndarray  # [3, band] float32 - blurred rows
    rounded: np.ndarray  # [3 band] float32 - rows about to be rounded
    row_weights: np.ndarray  # [S + 3, T] float32 - of the vertical resize
    quad_weights: np.ndarray  # [2 T, 4] float32 - of each input row in four output rows
    column_weights: np.ndarray  # [S + 3, T] float32
    row_starts: np.ndarray  # [S + 3] int64 - first input row of each output row
    column_starts: np.ndarray  # [S + 3] int64
    taps: np.ndarray  # [K] float32 - of the blur
    quad_taps: np.ndarray  # [K + 3, 4] float32 - of each row in four blurred rows
    offsets: np.ndarray  # [K + 3] int64 - of the rows that are blurred into four
    padded: np.ndarray  # [3, 4 (S + K + slack)] float32 - four rows and their reflected ends


class Needs(NamedTuple):
    """The sizes that the buffers must have."""

    width: int  # of a window
    size_px: int
    taps: int  # of a resize, in either direction
    kernel_px: int

    @staticmethod
    def of(tasks: np.ndarray) -> "Needs":
        """The needs of these tasks."""
        scale = np.maximum(tasks["height"], tasks["width"]) / tasks["size_px"]
        return Needs(
            int(tasks["width"].max(initial=1)),
            int(tasks["size_px"].max(initial=1)),
            int(np.ceil(4 * float(scale.max(initial=1)))),
            int(tasks["kernel_px"].max(initial=1)),
        )

    def join(self, other: "Needs") -> "Needs":
        """The sizes that serve both."""
        return Needs(*(max(pair) for pair in zip(self, other, strict=True)))


def make_scratch(needs: Needs) -> Scratch:
    """Buffers for one thread."""
    width, size, taps, kernel = needs
    band = max(BAND_PX, 4 * size)
    padded = _whole_vectors(size) + 2 * _whole_vectors(kernel // 2)
    return Scratch(
        strip=_zeros(16 * width),
        block=_zeros(16),
        planes=_zeros(3, size * size + PLANE_SLACK),
        band=_zeros(3, band + PLANE_SLACK),
        rounded=_zeros(3 * band),
        row_weights=_zeros((size + 3) * taps),
        # The rows of four outputs overlap: three steps and T taps, and a step is T / 4 at most.
        quad_weights=_zeros(4 * 2 * taps),
        column_weights=_zeros((size + 3) * taps),
        row_starts=np.zeros(size + 3, np.int64),
        column_starts=np.zeros(size + 3, np.int64),
        taps=_zeros(kernel),
        quad_taps=_zeros(4 * (kernel + 3)),
        offsets=np.zeros(kernel + 3, np.int64),
        padded=_zeros(3, 4 * padded),
    )


def _whole_vectors(count: int) -> int:
    return (count + 15) // 16 * 16


def _zeros(*shape: int) -> np.ndarray:
    """float32 zeros, aligned to ALIGNMENT."""
    num_bytes = 4 * math.prod(shape)
    block = np.zeros(num_bytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + num_bytes].view(np.float32).reshape(shape)
