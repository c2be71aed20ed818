"""Separable Gaussian blur of a band of rows: down the columns into a padded row, then along it.

Both passes are the same weighted sum of shifted lines, so one function runs them. The border is
reflected without repeating the edge: by reflected row numbers, and by the padding of the row.
"""

import numpy as np

from augengine.kernels.jit import helper, weigh_shifted

NEGLIGIBLE = 1e-9  # taps that weigh less than this against the centre are left out
BLOCK = 32  # floats summed at once


@helper
def fill_taps(kernel_px, sigma, taps):
    """The 2 r + 1 weights of the blur; returns r, at most half of the kernel.

    Weights are scaled by the sum over the whole kernel, then the outer ones that no float32 sum
    could show are dropped: a small sigma costs few taps, and none is a denormal number.
    """
    radius = kernel_px // 2
    total = 1.0
    for k in range(1, radius + 1):
        total += 2 * np.exp(-0.5 * (k / sigma) ** 2)
    while radius > 0 and np.exp(-0.5 * (radius / sigma) ** 2) < NEGLIGIBLE:
        radius -= 1
    for k in range(-radius, radius + 1):
        taps[radius + k] = np.float32(np.exp(-0.5 * (k / sigma) ** 2) / total)
    return radius


@helper
def blur_band(source, size, first, num_rows, radius, scratch, band):
    """Blur `num_rows` rows of a plane [S * S] from row `first` on into `band` [num_rows * S]."""
    count = 2 * radius + 1
    taps, offsets, padded = scratch.taps, scratch.offsets, scratch.padded
    for y in range(num_rows):
        for k in range(count):
            offsets[k] = reflect(first + y + k - radius, size) * size
        weigh_lines(source, offsets, taps, count, padded, radius, size)
        for x in range(radius):
            padded[x] = padded[2 * radius - x]
            padded[radius + size + x] = padded[radius + size - 2 - x]
        weigh_lines(padded, scratch.shifts, taps, count, band, y * size, size)


@helper
def reflect(i, size):
    """`i` mirrored at 0 and size - 1, for an i at most size - 1 outside."""
    i = abs(i)
    return 2 * (size - 1) - i if i >= size else i


@helper
def weigh_lines(lines, offsets, taps, count, out, out_at, size):
    """`out[out_at + x] = sum of taps[k] * lines[offsets[k] + x]` for x < size.

    The last block overlaps the one before it; a line shorter than a block goes float by float.
    """
    if size < BLOCK:
        for x in range(size):
            weigh_shifted(lines, offsets, taps, count, x, out, out_at + x, 1)
        return
    for x in range(0, size - BLOCK + 1, BLOCK):
        weigh_shifted(lines, offsets, taps, count, x, out, out_at + x, 32)
    if size % BLOCK:
        x = size - BLOCK
        weigh_shifted(lines, offsets, taps, count, x, out, out_at + x, 32)
