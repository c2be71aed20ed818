"""Views from their images on one CPU core: the kernel that the fused backend's threads run.

A view is made in bands of rows that fit the first-level cache; a band is a few quads of four rows.
Sweep 1 resizes a band and runs the colour ops before contrast; contrast needs the mean of the whole
view, so what follows it is sweep 2; the blur needs neighbours, so it is sweep 3. The sweep that
comes last for a view also solarizes, normalises and writes; a view without contrast and blur is one
sweep.

    cpu_resize -> cpu_colour -> cpu_blur -> cpu_write

Meaning: reference.py. Views are independent: how they are shared among threads changes no bit.
"""

import numpy as np
from numba import carray  # pyright: ignore[reportPrivateImportUsage]

from augengine.kernels.cpu_blur import blur_quad, fill_quad_taps, fill_taps
from augengine.kernels.cpu_colour import adjust_band, gray_sum
from augengine.kernels.cpu_resize import fill_weights, resize_quad
from augengine.kernels.cpu_task import BAND_PX, NUM_OPS, Scratch
from augengine.kernels.cpu_vector import finish_streams
from augengine.kernels.cpu_write import (
    FLOAT16,
    FLOAT32,
    round_to_bfloat16,
    round_to_float16,
    solarize,
    write_float32,
)
from augengine.kernels.jit import SOURCES_DIGEST, borrow, entry_point, helper, pointer
from augengine.plan import NO_SOLARIZE

RESIZE_SWEEP, CONTRAST_SWEEP, BLUR_SWEEP = range(3)


@helper
def render_view(task, scale, shift, dtype, scratch):
    """Make one view; `task` is a VIEW_TASK, `scale` and `shift` [3] float32 normalise."""
    size, planes = task.size_px, scratch.planes
    has_contrast, has_blur = task.contrast_at < NUM_OPS, task.sigma > 0
    last_sweep = BLUR_SWEEP if has_blur else CONTRAST_SWEEP if has_contrast else RESIZE_SWEEP
    image = carray(pointer(task.image, np.uint8), (task.image_height * task.image_width * 3,))
    row_taps, column_taps = fill_weights(task, scratch)
    radius = fill_taps(task.kernel_px, task.sigma, scratch.taps) if has_blur else 0
    if has_blur:
        fill_quad_taps(radius, scratch.taps, scratch.quad_taps)
    to_blur = planes[:1] if task.gray else planes
    band_rows = max(4, BAND_PX // size // 4 * 4)
    gray_total, mean = 0.0, 0.0
    for sweep in range(last_sweep + 1):
        if sweep == CONTRAST_SWEEP and not has_contrast:
            continue
        first_op = task.contrast_at if sweep == CONTRAST_SWEEP else 0
        last_op = task.contrast_at if sweep == RESIZE_SWEEP else NUM_OPS
        mean = gray_total / (size * size)
        for y in range(0, size, band_rows):
            num_rows = min(band_rows, size - y)
            first, count = y * size, num_rows * size
            if sweep == BLUR_SWEEP:
                for row in range(0, num_rows, 4):
                    quad, at = min(4, num_rows - row), row * size
                    blur_quad(to_blur, size, y + row, quad, radius, scratch, scratch.band, at)
                buffer, first_in_buffer = scratch.band, 0
            else:
                buffer, first_in_buffer = planes, first
            end = first_in_buffer + count
            red = buffer[0, first_in_buffer:end]
            green = buffer[1, first_in_buffer:end]
            blue = buffer[2, first_in_buffer:end]
            if sweep == RESIZE_SWEEP:
                for row in range(0, num_rows, 4):
                    quad = min(4, num_rows - row)
                    at = slice(row * size, (row + quad) * size)
                    r, g, b = red[at], green[at], blue[at]
                    resize_quad(image, task, y + row, quad, row_taps, column_taps, scratch, r, g, b)
            if sweep != BLUR_SWEEP:
                adjust_band(red, green, blue, task, first_op, last_op, mean)
            if sweep == RESIZE_SWEEP and has_contrast:
                gray_total += gray_sum(red, green, blue)
            if sweep == last_sweep:
                finish_band(red, green, blue, first, task, scale, shift, dtype, scratch)


@helper
def finish_band(red, green, blue, first, task, scale, shift, dtype, scratch):
    """Solarize, normalise and write one band, whose first pixel is number `first` of the view."""
    if task.gray:
        green, blue = red, red
    if task.solarize < NO_SOLARIZE:
        solarize(red, task.solarize)
        if not task.gray:
            solarize(green, task.solarize)
            solarize(blue, task.solarize)
    count = 3 * red.size
    if dtype == FLOAT32:
        out = carray(pointer(task.out + 12 * first, np.float32), (count,))
        write_float32(red, green, blue, scale, shift, out, (task.out + 12 * first) % 64 == 0)
        return
    line = scratch.rounded[:count]
    write_float32(red, green, blue, scale, shift, line, False)
    half = carray(pointer(task.out + 6 * first, np.uint16), (count,))
    if dtype == FLOAT16:
        round_to_float16(line, half)
    else:
        round_to_bfloat16(line, half)


@helper
def borrow_all(scratch):
    """The buffers without their owner, who outlives the call."""
    return Scratch(
        borrow(scratch.strip),
        borrow(scratch.block),
        borrow(scratch.planes),
        borrow(scratch.band),
        borrow(scratch.rounded),
        borrow(scratch.row_weights),
        borrow(scratch.quad_weights),
        borrow(scratch.column_weights),
        borrow(scratch.row_starts),
        borrow(scratch.column_starts),
        borrow(scratch.taps),
        borrow(scratch.quad_taps),
        borrow(scratch.offsets),
        borrow(scratch.padded),
    )


def _compile_entry(digest):
    @entry_point
    def render_tasks(tasks, first, last, scale, shift, dtype, scratch):
        """Make the views `tasks[first:last]`; returns the digest of the sources it is made from."""
        buffers = borrow_all(scratch)
        for i in range(first, last):
            render_view(tasks[i], scale, shift, dtype, buffers)
        finish_streams()
        return digest

    return render_tasks


render_tasks = _compile_entry(SOURCES_DIGEST)
