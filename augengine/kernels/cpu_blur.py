"""Separable Gaussian blur, four rows at a time: down the columns into padded rows, then along.

A *quad* is four rows of the view. Down the columns they are four weighted sums of the same rows,
each of which is loaded once; along the rows they are four sums that do not wait for each other. The
border is reflected without repeating the edge: by reflected row numbers, and by the padding.
"""

import numpy as np

from augengine.kernels.cpu_vector import add_product, backwards, load, spread, spread_from, store
from augengine.kernels.jit import helper, inlined

NEGLIGIBLE = 1e-9  # taps that weigh less than this against the centre are left out


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
def fill_quad_taps(radius, taps, quad_taps):
    """`quad_taps` [2 r + 4, 4]: what each row around a quad weighs in each row of it."""
    for k in range(2 * radius + 4):
        for row in range(4):
            inside = row <= k <= 2 * radius + row
            quad_taps[4 * k + row] = taps[k - row] if inside else np.float32(0)


@helper
def blur_quad(planes, size, y, num_rows, radius, scratch, band, at):
    """Blur rows y to y + num_rows <= y + 4 of planes [S * S] into `band[:, at : at + 4 S]`."""
    offsets, count = scratch.offsets, 2 * radius + num_rows
    stride, border = scratch.padded.shape[1] // 4, round_up(radius)
    for k in range(count):
        offsets[k] = reflect(y + k - radius, size) * size
    # All planes down before one goes along: what was just stored is slow to load shifted.
    for channel in range(len(planes)):
        source, padded = planes[channel], scratch.padded[channel]
        for i in range(0, size, 16):
            x = max(0, min(i, size - 16))
            weigh_rows(source, offsets, x, scratch.quad_taps, count, padded, border + x, stride)
        for row in range(num_rows):
            first = row * stride + border
            last = first + size - 1
            for x in range(0, radius, 16):
                before, after = load(padded, first + 1 + x), load(padded, last - 16 - x)
                store(padded, first - 16 - x, backwards(before, before))
                store(padded, last + 1 + x, backwards(after, after))
    for channel in range(len(planes)):
        padded, out = scratch.padded[channel], band[channel]
        for i in range(0, size, 16):
            x = max(0, min(i, size - 16))
            first = border - radius + x
            weigh_columns(padded, first, stride, scratch.taps, 2 * radius + 1, out, at + x, size)


@helper
def round_up(count):
    """To whole vectors."""
    return (count + 15) // 16 * 16


@helper
def reflect(i, size):
    """`i` mirrored at 0 and size - 1, for an i at most size - 1 outside."""
    i = abs(i)
    return 2 * (size - 1) - i if i >= size else i


@inlined
def weigh_rows(source, offsets, x, quad_taps, count, out, out_at, stride):
    """Sixteen columns of a quad: weighted sums of the rows at `offsets`."""
    a = b = c = d = spread(np.float32(0))
    for k in range(count):
        values = load(source, offsets[k] + x)
        a = add_product(a, values, spread_from(quad_taps, 4 * k))
        b = add_product(b, values, spread_from(quad_taps, 4 * k + 1))
        c = add_product(c, values, spread_from(quad_taps, 4 * k + 2))
        d = add_product(d, values, spread_from(quad_taps, 4 * k + 3))
    put_rows(a, b, c, d, out, out_at, stride)


@inlined
def weigh_columns(padded, at, stride, taps, count, out, out_at, size):
    """Sixteen columns of a quad: weighted sums of neighbours in the row."""
    a = b = c = d = spread(np.float32(0))
    for k in range(count):
        weight = spread_from(taps, k)
        a = add_product(a, load(padded, at + k), weight)
        b = add_product(b, load(padded, at + stride + k), weight)
        c = add_product(c, load(padded, at + 2 * stride + k), weight)
        d = add_product(d, load(padded, at + 3 * stride + k), weight)
    put_rows(a, b, c, d, out, out_at, size)


@inlined
def put_rows(a, b, c, d, out, at, stride):
    """In this order: what is too much for a row below sixteen pixels, the next one overwrites."""
    store(out, at, a)
    store(out, at + stride, b)
    store(out, at + 2 * stride, c)
    store(out, at + 3 * stride, d)
