"""The Triton kernels of gram_gpu.py: each reads what it needs once, and none adds by atomics.

D, and the width W of a block of columns, are compiled in, so that rows are known to be aligned.
"""

import triton.language as tl

from trainer.losses.kernels.launch import kernel


@kernel
def add_up(
    p_z,  # [V, B, D]
    p_means,  # [P, V, D] ACC
    p_seconds,  # [P, 1 + G, V, D] ACC
    num_images,  # B
    V: tl.constexpr,
    D: tl.constexpr,
    WITHIN: tl.constexpr,
    PART: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_V: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """Means over a part of the rows, then sums about them: of squares, or with another view."""
    which, part = tl.program_id(0), tl.program_id(2).to(tl.int64)
    o_v = tl.arange(0, BLOCK_V)
    o_d = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    m_d = o_d < D
    m_out = (o_v < V)[:, None] & m_d[None, :]
    stride, first = num_images.to(tl.int64) * D, part * PART
    p_x = p_z + (o_v * stride)[:, None, None] + o_d[None, None, :]
    p_y = p_z + tl.maximum(which - 1, 0) * stride + o_d[None, :]
    count = tl.minimum(num_images - first, PART).to(ACC)
    # From the first row on: a column without variance is then 0, not the rounding of its mean.
    x0 = tl.load(p_x + first * D, mask=m_out[:, None], other=0.0).to(ACC)
    y0 = tl.load(p_y + first * D, mask=m_d[None, :], other=0.0).to(ACC)
    mean, mean_y = tl.zeros([BLOCK_V, COLUMNS], ACC), tl.zeros([COLUMNS], ACC)
    for start in range(0, PART, ROWS):
        o_b = first + start + tl.arange(0, ROWS)
        m = (o_b < num_images)[:, None] & m_d[None, :]
        x = tl.load(p_x + (o_b * D)[None, :, None], mask=m[None] & m_out[:, None], other=0.0)
        y = tl.load(p_y + (o_b * D)[:, None], mask=m, other=0.0)
        mean += tl.sum(tl.where(m[None], x.to(ACC) - x0, 0.0), axis=1)
        mean_y += tl.sum(tl.where(m, y.to(ACC) - y0, 0.0), axis=0)
    mean = tl.sum(x0, axis=1) + mean / count
    mean_y = tl.sum(y0, axis=0) + mean_y / count
    total = tl.zeros([BLOCK_V, COLUMNS], ACC)
    for start in range(0, PART, ROWS):
        o_b = first + start + tl.arange(0, ROWS)
        m = (o_b < num_images)[:, None] & m_d[None, :]
        x = tl.load(p_x + (o_b * D)[None, :, None], mask=m[None] & m_out[:, None], other=0.0)
        y = tl.load(p_y + (o_b * D)[:, None], mask=m, other=0.0)
        x, y = x.to(ACC) - mean[:, None], (y.to(ACC) - mean_y[None, :])[None]
        found = second_of(x, y, which, WITHIN)
        total += tl.sum(tl.where(m[None], found, 0.0), axis=1)
    o_out = o_v[:, None] * D + o_d[None, :]
    tl.store(p_seconds + (part * tl.num_programs(0) + which) * V * D + o_out, total, mask=m_out)
    if which == 0:
        tl.store(p_means + part * V * D + o_out, mean, mask=m_out)


@kernel
def second_of(x, y, which, WITHIN: tl.constexpr):
    """x^2 for the first, then what gram_op.py has of two views."""
    if WITHIN:
        x -= tl.where(which == 0, 0.0, y)
        return x * x
    return x * tl.where(which == 0, x, y)


@kernel
def join_parts(
    p_means,  # [P, V, D] ACC
    p_seconds,  # [P, 1 + G, V, D] ACC
    p_mean,  # [V, D] ACC
    p_second,  # [1 + G, V, D] ACC
    num_parts,  # P
    num_images,  # B
    V: tl.constexpr,
    D: tl.constexpr,
    WITHIN: tl.constexpr,
    PART: tl.constexpr,
    BLOCK_V: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """Join the parts in their order: what their means differ by counts too."""
    which = tl.program_id(0)
    o_v = tl.arange(0, BLOCK_V)
    o_d = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    m_d = o_d < D
    m = (o_v < V)[:, None] & m_d[None, :]
    o_x = o_v[:, None] * D + o_d[None, :]
    o_y = tl.maximum(which - 1, 0) * D + o_d
    mean, mean_y = tl.zeros([BLOCK_V, COLUMNS], ACC), tl.zeros([COLUMNS], ACC)
    total = tl.zeros([BLOCK_V, COLUMNS], ACC)
    part = tl.full([], 0, tl.int64)
    while part < num_parts:
        before = (part * PART).to(ACC)
        count = tl.minimum(num_images - part * PART, PART).to(ACC)
        share = count / (before + count)
        p_own = p_means + part * V * D
        x = tl.load(p_own + o_x, mask=m, other=0.0) - mean
        y = tl.load(p_own + o_y, mask=m_d, other=0.0) - mean_y
        p_sums = p_seconds + (part * tl.num_programs(0) + which) * V * D
        total += tl.load(p_sums + o_x, mask=m, other=0.0)
        total += second_of(x, y[None, :], which, WITHIN) * (before * share)
        mean += x * share
        mean_y += y * share
        part += 1
    tl.store(p_second + which * V * D + o_x, total / num_images.to(ACC), mask=m)
    if which == 0:
        tl.store(p_mean + o_x, mean, mask=m)


@kernel
def standardise(
    p_z,  # [V, C, W] of [V, B, D]
    p_mean,  # [V, W] of [V, D] ACC
    p_scale,  # [V, W] of [V, D] ACC
    p_out,  # [V, C, W]
    num_images,  # B
    num_rows,  # C
    D: tl.constexpr,
    W: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """(z - mean) scale, one view a program."""
    view = tl.program_id(2).to(tl.int64)
    o_b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    o_d = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    m_d = o_d < W
    m = (o_b < num_rows)[:, None] & m_d[None, :]
    z = tl.load(p_z + ((view * num_images + o_b) * D)[:, None] + o_d[None, :], mask=m, other=0.0)
    mean = tl.load(p_mean + view * D + o_d, mask=m_d, other=0.0)
    scale = tl.load(p_scale + view * D + o_d, mask=m_d, other=0.0)
    x = (z.to(ACC) - mean[None, :]) * scale[None, :]
    p_own = p_out + ((view * num_rows + o_b) * W)[:, None] + o_d[None, :]
    tl.store(p_own, x.to(p_out.dtype.element_ty), mask=m)


@kernel
def mix(
    p_found,  # [S, M, M] ACC
    p_out,  # [S, M, M] - or the same
    p_sums,  # [P] ACC
    num_entries,  # M M
    S: tl.constexpr,
    G: tl.constexpr,  # 0: no matrix meets others
    TWICE: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    """The matrices that `meet` or `weigh` writes, and the sum of products over a block."""
    size = num_entries.to(tl.int64)
    first = tl.program_id(0).to(tl.int64) * BLOCK
    o_m = tl.arange(0, BLOCK)
    m = o_m < size - first
    p_found += first
    p_out += first
    everyone, local = tl.zeros([BLOCK], ACC), tl.zeros([BLOCK], ACC)
    total = tl.zeros([BLOCK], ACC)
    for g in range(G):
        everyone += tl.load(p_found + g * size + o_m, mask=m, other=0.0)
    if S > G:
        local += tl.load(p_found + G * size + o_m, mask=m, other=0.0)
    for s in range(S):
        k = tl.load(p_found + s * size + o_m, mask=m, other=0.0)
        if G > 0:
            met = tl.where(s < G, 2 * (everyone - k) + local, everyone)
        else:
            met = tl.where(s < TWICE, 2 * k, k)
        total += k * met
        tl.store(p_out + s * size + o_m, met.to(p_out.dtype.element_ty), mask=m)
    tl.store(p_sums + tl.program_id(0), tl.sum(total, axis=0))


@kernel
def add_up_dots(
    p_product,  # [V, C, W] ACC
    p_x,  # [V, C, W]
    p_parts,  # [P, V, W] ACC
    num_rows,  # C
    W: tl.constexpr,
    PART: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """The sum of products over a part of the rows of one view."""
    part, view = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    o_d = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    m_d = o_d < W
    total = tl.zeros([COLUMNS], ACC)
    for start in range(0, PART, ROWS):
        o_b = part * PART + start + tl.arange(0, ROWS)
        at = ((view * num_rows + o_b) * W)[:, None] + o_d[None, :]
        m = (o_b < num_rows)[:, None] & m_d[None, :]
        x = tl.load(p_x + at, mask=m, other=0.0).to(ACC)
        total += tl.sum(tl.load(p_product + at, mask=m, other=0.0) * x, axis=0)
    tl.store(p_parts + (part * tl.num_programs(2) + view) * W + o_d, total, mask=m_d)


@kernel
def write(
    p_z,  # [V, C, W] of [V, B, D]
    p_product,  # [V, C, W] ACC
    p_mean,  # [V, W] of [V, D] ACC, and so the next ones
    p_scale,
    p_factor,
    p_table,  # [V, V, W]
    p_constant,
    p_out,  # [V, C, W] of [V, B, D]
    num_images,  # B
    num_rows,  # C
    V: tl.constexpr,
    D: tl.constexpr,
    W: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_V: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """factor[v] product[v] + sum_w table[v, w] x[w] + constant[v] for each view of a tile."""
    o_v = tl.arange(0, BLOCK_V)
    o_b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    o_d = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    m_d = o_d < W
    m = (o_b < num_rows)[:, None] & m_d[None, :]
    m_v = (o_v < V)[:, None] & m_d[None, :]
    stride = num_images.to(tl.int64) * D
    at = (o_b * D)[:, None] + o_d[None, :]
    o_table = o_v[:, None] * D + o_d[None, :]
    z = tl.load(
        p_z + (o_v * stride)[:, None, None] + at[None], mask=m_v[:, None] & m[None], other=0.0
    )
    mean = tl.load(p_mean + o_table, mask=m_v, other=0.0)
    scale = tl.load(p_scale + o_table, mask=m_v, other=0.0)
    x = (z.to(ACC) - mean[:, None]) * scale[:, None]
    o_product = (o_b * W)[:, None] + o_d[None, :]
    for v in range(V):
        product = tl.load(p_product + o_product, mask=m, other=0.0)
        factor = tl.load(p_factor + v * D + o_d, mask=m_d, other=0.0)
        constant = tl.load(p_constant + v * D + o_d, mask=m_d, other=0.0)
        table = tl.load(p_table + v * V * D + o_table, mask=m_v, other=0.0)
        total = tl.sum(table[:, None] * x, axis=0)
        total += product * factor[None, :] + constant[None, :]
        tl.store(p_out + v * stride + at, total.to(p_out.dtype.element_ty), mask=m)
        o_product += num_rows.to(tl.int64) * W
