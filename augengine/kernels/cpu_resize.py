"""Crop and antialiased resize of a uint8 image, row by row: first down the columns, then along.

Vertically, a row of interleaved RGB is a weighted sum of whole input rows: contiguous, so it runs
on full vectors. Horizontally every output pixel has its own place, so each is a vector of four
floats (RGB and the next red, overwritten by the next pixel). The flip is in the horizontal weights,
1/255 in the vertical ones. Only pixels of the window are read.

Horizontally this took 63 us for 224 x 224 pixels from 327 columns (one Zen 4 core), a gather over
three planes 217; 16 rows side by side, transposed, 43, but without turning them there and back.

Legend: S crop side, T taps; an axis has S rows of T weights and the first input pixel of each.
"""

import numpy as np

from augengine.kernels.cpu_task import UNROLLED
from augengine.kernels.jit import helper, weigh_pixels


@helper
def fill_weights(task, scratch):
    """The weights of both directions for one view; returns the rows' and columns' taps."""
    size, bicubic = task.size_px, task.bicubic
    rows = fill_axis(
        task.height, size, bicubic, False, 1 / 255, scratch.row_weights, scratch.row_starts
    )
    columns = fill_axis(
        task.width, size, bicubic, task.flip, 1.0, scratch.column_weights, scratch.column_starts
    )
    return rows, columns


@helper
def resize_row(image, task, y, row_taps, column_taps, scratch):
    """Row `y` of the resized window into `scratch.pixels`, interleaved, not clamped."""
    stride, width = 3 * task.image_width, 3 * task.width
    top = task.top * stride + 3 * task.left
    first = top + scratch.row_starts[y] * stride
    last = top + (task.height - 1) * stride
    weights = scratch.row_weights[y * row_taps : (y + 1) * row_taps]
    weigh_rows(image, stride, first, last, width, weights, row_taps, scratch.line)
    weigh_columns(
        scratch.line,
        scratch.column_weights,
        scratch.column_starts,
        column_taps,
        task.size_px,
        scratch.pixels,
    )


@helper
def num_taps(in_px, out_px, bicubic):
    """Input pixels that may weigh in one output pixel."""
    support = max(in_px / out_px, 1.0) * (2.0 if bicubic else 1.0)
    return min(in_px, int(np.ceil(2 * support)))


@helper
def fill_axis(in_px, out_px, bicubic, mirrored, total, weights, starts):
    """Weights (each row sums to `total`) and first pixels of one axis; returns T, padded.

    A row's real taps come first and are inside the image; the padding weighs nothing.
    """
    taps = num_taps(in_px, out_px, bicubic)
    padded = taps if taps <= UNROLLED else (taps + UNROLLED - 1) // UNROLLED * UNROLLED
    scale = in_px / out_px
    stretch = max(scale, 1.0)
    support = stretch * (2.0 if bicubic else 1.0)
    for i in range(out_px):
        centre = (i + 0.5) * scale
        start = int(np.floor(centre - support - 0.5)) + 1
        start = max(0, min(start, in_px - taps))
        row = out_px - 1 - i if mirrored else i
        starts[row] = start
        line = weights[row * padded : (row + 1) * padded]
        sum_ = 0.0
        for k in range(taps):
            sum_ += kernel_value((start + k + 0.5 - centre) / stretch, bicubic)
        for k in range(taps):
            value = kernel_value((start + k + 0.5 - centre) / stretch, bicubic)
            line[k] = np.float32(value / sum_ * total)
        for k in range(taps, padded):
            line[k] = np.float32(0)
    return padded


@helper
def kernel_value(distance, bicubic):
    """Triangle, or Keys' cubic with a = -0.5, at a signed distance."""
    d = abs(distance)
    if not bicubic:
        return max(0.0, 1.0 - d)
    if d < 1:
        return (1.5 * d - 2.5) * d * d + 1
    if d < 2:
        return ((-0.5 * d + 2.5) * d - 4) * d + 2
    return 0.0


@helper
def weigh_rows(image, stride, first, last, width3, weights, taps, line):
    """`line[:width3]` = weighted sum of `taps` rows of bytes, the first one at byte `first`.

    `last` is the byte at which the window's last row starts: padding taps read that row.
    """
    n = width3
    a = image[first : first + n]
    at = min(first + stride, last)
    b = image[at : at + n]
    if taps <= 2:
        wa, wb = weights[0], weights[1] if taps == 2 else np.float32(0)
        for i in range(n):
            line[i] = wa * np.float32(a[i]) + wb * np.float32(b[i])
        return
    at = min(first + 2 * stride, last)
    c = image[at : at + n]
    if taps == 3:
        wa, wb, wc = weights[0], weights[1], weights[2]
        for i in range(n):
            line[i] = wa * np.float32(a[i]) + wb * np.float32(b[i]) + wc * np.float32(c[i])
        return
    at = min(first + 3 * stride, last)
    d = image[at : at + n]
    wa, wb, wc, wd = weights[0], weights[1], weights[2], weights[3]
    for i in range(n):
        line[i] = (wa * np.float32(a[i]) + wb * np.float32(b[i])) + (
            wc * np.float32(c[i]) + wd * np.float32(d[i])
        )
    for k in range(4, taps, 4):
        at = min(first + k * stride, last)
        a = image[at : at + n]
        at = min(first + (k + 1) * stride, last)
        b = image[at : at + n]
        at = min(first + (k + 2) * stride, last)
        c = image[at : at + n]
        at = min(first + (k + 3) * stride, last)
        d = image[at : at + n]
        wa, wb, wc, wd = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        for i in range(n):
            line[i] += (wa * np.float32(a[i]) + wb * np.float32(b[i])) + (
                wc * np.float32(c[i]) + wd * np.float32(d[i])
            )


@helper
def weigh_columns(line, weights, starts, taps, out_px, pixels):
    """`pixels[:3 S]`, interleaved = weighted sums of `taps` neighbouring pixels of `line`."""
    if taps == 1:
        for x in range(out_px):
            weigh_pixels(line, 3 * starts[x], weights, x, 1, pixels, 3 * x)
    elif taps == 2:
        for x in range(out_px):
            weigh_pixels(line, 3 * starts[x], weights, 2 * x, 2, pixels, 3 * x)
    elif taps == 3:
        for x in range(out_px):
            weigh_pixels(line, 3 * starts[x], weights, 3 * x, 3, pixels, 3 * x)
    elif taps == 4:
        for x in range(out_px):
            weigh_pixels(line, 3 * starts[x], weights, 4 * x, 4, pixels, 3 * x)
    elif taps == 8:
        for x in range(out_px):
            weigh_pixels(line, 3 * starts[x], weights, 8 * x, 8, pixels, 3 * x)
    else:
        for x in range(out_px):
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            for k in range(taps):
                at, weight = 3 * (starts[x] + k), weights[x * taps + k]
                red += weight * line[at]
                green += weight * line[at + 1]
                blue += weight * line[at + 2]
            pixels[3 * x], pixels[3 * x + 1], pixels[3 * x + 2] = red, green, blue


@helper
def clamp_to_planes(pixels, red, green, blue):
    """Interleaved RGB to three planes, clamped to [0, 1]."""
    zero, one = np.float32(0), np.float32(1)
    for i in range(red.size):
        r, g, b = pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]
        red[i] = min(max(r, zero), one)
        green[i] = min(max(g, zero), one)
        blue[i] = min(max(b, zero), one)
