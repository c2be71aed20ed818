"""What one view asks of the CPU kernel, as a row of an array, and the buffers it is made in."""

from typing import NamedTuple

import numpy as np

NUM_OPS = 5  # the four colour ops in the view's order, then gray
BAND_PX = 1024  # pixels of a band, unless one row has more: three planes of it are 12 KiB
PLANE_SLACK = 16  # floats between planes, so that they do not lie a multiple of 4 KiB apart
UNROLLED = 4  # taps of a resize summed in one pass: weights are padded with zeros to a multiple
# Floats read behind the last pixel of a line: those of padding taps, and a fourth lane.
LINE_SLACK = 3 * UNROLLED

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

    line: np.ndarray  # [3 W + slack] float32 - one row of the window, resized vertically
    pixels: np.ndarray  # [3 S + 1] float32 - and horizontally
    planes: np.ndarray  # [3, S * S + slack] float32 - the view
    band: np.ndarray  # [3, band] float32 - blurred rows
    rounded: np.ndarray  # [3 band] float32 - rows about to be rounded
    row_weights: np.ndarray  # [S * T] float32 - of the vertical resize
    column_weights: np.ndarray  # [S * T] float32
    row_starts: np.ndarray  # [S] int64 - first input row of each output row
    column_starts: np.ndarray  # [S] int64
    taps: np.ndarray  # [K] float32 - of the blur
    offsets: np.ndarray  # [K] int64 - of the rows that are blurred into one
    shifts: np.ndarray  # [K] int64 - 0, 1, 2, ...
    padded: np.ndarray  # [S + K] float32 - one row and its reflected ends


class Needs(NamedTuple):
    """How large the buffers must be."""

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
            int(np.ceil(4 * float(scale.max(initial=1)))) + UNROLLED,
            int(tasks["kernel_px"].max(initial=1)),
        )

    def join(self, other: "Needs") -> "Needs":
        """What serves both."""
        return Needs(*(max(pair) for pair in zip(self, other, strict=True)))


def make_scratch(needs: Needs) -> Scratch:
    """Buffers for one thread."""
    width, size, taps, kernel = needs
    band = max(BAND_PX, size)
    return Scratch(
        line=np.zeros(3 * width + LINE_SLACK, np.float32),
        pixels=np.zeros(3 * size + 1, np.float32),
        planes=np.zeros((3, size * size + PLANE_SLACK), np.float32),
        band=np.zeros((3, band + PLANE_SLACK), np.float32),
        rounded=np.zeros(3 * band, np.float32),
        row_weights=np.zeros(size * taps, np.float32),
        column_weights=np.zeros(size * taps, np.float32),
        row_starts=np.zeros(size, np.int64),
        column_starts=np.zeros(size, np.int64),
        taps=np.zeros(kernel, np.float32),
        offsets=np.zeros(kernel, np.int64),
        shifts=np.arange(kernel, dtype=np.int64),
        padded=np.zeros(size + kernel, np.float32),
    )
