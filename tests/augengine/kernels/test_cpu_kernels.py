"""The CPU kernels' parts: weights, taps, buffers that are kept to, and the cache of code."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from augengine.backends.fused import _tasks_of
from augengine.draw import draw_plan
from augengine.kernels import jit
from augengine.kernels.cpu_blur import blur_quad, fill_quad_taps, fill_taps
from augengine.kernels.cpu_resize import fill_axis
from augengine.kernels.cpu_task import ALIGNMENT, VIEW_TASK, Needs, Scratch, make_scratch
from augengine.kernels.cpu_write import BFLOAT16, FLOAT32, write_float32
from augengine.kernels.fused_cpu import render_tasks
from augengine.plan import Plan
from augengine.policies import load_policy
from augengine.reference import resize_weights

GUARD = 64  # floats on both sides of a buffer


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_axis_weights_are_the_references(bicubic: bool, mirrored: bool) -> None:
    """Weights and first pixels of an axis, spread out, are the reference's matrix; then zeros."""
    for in_px in (1, 2, 3, 7, 50, 223, 224, 500):
        for out_px in (1, 2, 13, 32, 224):
            weights = np.full((out_px + 3) * 2100, np.nan, np.float32)
            starts = np.full(out_px + 3, -1)
            taps = fill_axis(in_px, out_px, bicubic, mirrored, 1.0, weights, starts)
            assert (weights[out_px * taps : (out_px + 3) * taps] == 0).all()
            assert (starts[out_px:] == 0).all()
            found = np.zeros((out_px, in_px))
            for row in range(out_px):
                found[row, starts[row] : starts[row] + taps] = weights[
                    row * taps : row * taps + taps
                ]
            expected = resize_weights(in_px, out_px, bicubic=bicubic)
            expected = expected[::-1] if mirrored else expected
            assert np.abs(found - expected).max() < 1e-7


@pytest.mark.parametrize("size_px", [1, 4, 15, 16, 17, 50])
@pytest.mark.parametrize("sigma", [0.2, 1.0, 9.0, 30.0])
def test_a_blurred_quad_is_the_blurred_rows(size_px: int, sigma: float) -> None:
    """Rows of any width, borders wider than a vector, and last quads of fewer rows."""
    kernel_px = min(2 * size_px - 1, 63)
    scratch = make_scratch(Needs(1, size_px, 4, kernel_px))
    plane = np.random.default_rng(0).random((size_px, size_px)).astype(np.float32)
    scratch.planes[0, : size_px**2] = plane.ravel()
    radius = fill_taps(kernel_px, sigma, scratch.taps)
    fill_quad_taps(radius, scratch.taps, scratch.quad_taps)
    taps = scratch.taps[: 2 * radius + 1].astype(float)
    down = np.pad(plane.astype(float), [(radius, radius), (0, 0)], "reflect")
    rows = np.stack([taps @ down[y : y + len(taps)] for y in range(size_px)])
    wide = np.pad(rows, [(0, 0), (radius, radius)], "reflect")
    expected = np.stack([wide[:, x : x + len(taps)] @ taps for x in range(size_px)], axis=1)
    for y in range(0, size_px, 4):
        num_rows = min(4, size_px - y)
        blur_quad(scratch.planes[:1], size_px, y, num_rows, radius, scratch, scratch.band, 0)
        found = scratch.band[0, : num_rows * size_px].reshape(num_rows, size_px)
        assert np.abs(found - expected[y : y + num_rows]).max() < 5e-7


@pytest.mark.parametrize(("sigma", "radius"), [(0.1, 0), (0.5, 3), (1.0, 6), (30.0, 11)])
def test_taps_that_weigh_nothing_are_dropped(sigma: float, radius: int) -> None:
    """A narrow blur of 23 taps uses few of them; those it uses weigh what they weighed."""
    taps = np.full(23, np.nan, np.float32)
    assert fill_taps(23, sigma, taps) == radius
    expected = np.exp(-0.5 * (np.arange(-11, 12) / sigma) ** 2)
    expected /= expected.sum()
    assert np.abs(taps[: 2 * radius + 1] - expected[11 - radius : 12 + radius]).max() < 1e-7


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize("name", ["swav", "byol"])
def test_nothing_is_read_or_written_outside_its_buffer(name: str, dtype: int) -> None:
    """Between guards of NaN, every buffer keeps to itself: the guards stay, and no NaN comes in."""
    for height, width, size_px in ((64, 64, 31), (1, 9, 33), (90, 201, 40), (375, 500, 64)):
        policy = load_policy(name).with_views((2, 2), (size_px, 7))
        plan = draw_plan(policy, np.arange(8), np.zeros(8), np.array([(height, width)] * 8), 0)
        out = _render_guarded(plan, dtype)
        assert np.isfinite(out).all()


def _render_guarded(plan: Plan, dtype: int) -> np.ndarray:
    """All views of the plan, made one by one with guarded buffers of exactly the size needed."""
    image = torch.randint(0, 256, (*plan.image_sizes[0].tolist(), 3), dtype=torch.uint8)
    outs = [
        torch.zeros(len(group), plan.batch_size, size, size, 3)
        for group in plan.groups
        for size in [int(plan.size_px[group[0]])]
    ]
    tasks = _tasks_of(plan, [image] * plan.batch_size, outs)
    one = np.ones(3, np.float32)
    for i in range(len(tasks)):
        scratch = make_scratch(Needs.of(tasks[i : i + 1]))
        guarded = [_guard(buffer) for buffer in scratch]
        buffers = Scratch(*(inner for _, inner in guarded))
        render_tasks(tasks, i, i + 1, one, one, dtype, buffers)
        for name, (outer, _) in zip(Scratch._fields, guarded, strict=True):
            edges = np.concatenate([outer[:GUARD], outer[-GUARD:]])
            assert (np.isnan(edges) if edges.dtype == np.float32 else edges == -1).all(), name
    return np.concatenate([out.numpy().ravel() for out in outs])


def _guard(buffer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A copy between guards, and the whole."""
    filling = np.nan if buffer.dtype == np.float32 else -1
    outer = np.full(buffer.size + 2 * GUARD, filling, buffer.dtype)
    inner = outer[GUARD:-GUARD].reshape(buffer.shape)
    inner[...] = buffer
    return outer, inner


READ_BETWEEN_FORBIDDEN_PAGES = """
import ctypes, mmap
import numpy as np, torch
from augengine.backends.fused import FusedBackend
from augengine.draw import draw_plan
from augengine.policies import load_policy

page = mmap.PAGESIZE
memory = mmap.mmap(-1, 3 * page)
pages = np.frombuffer(memory, np.uint8)
for first in (0, 2 * page):
    place = ctypes.c_void_p(pages.ctypes.data + first)
    assert ctypes.CDLL(None).mprotect(place, ctypes.c_size_t(page), 0) == 0  # may not be read
policy, backend = load_policy("swav").with_views((2,), (9,)), FusedBackend()
for width in range(1, 33):
    count = 2 * width * 3
    for first in (page, 2 * page - count):
        image = torch.from_numpy(pages[first : first + count].reshape(2, width, 3))
        plan = draw_plan(policy, np.arange(1), np.zeros(1), np.array([(2, width)]), 0)
        plan.window[:] = 0, 0, 2, width
        backend([image], plan)
print("read", end="")
"""


def test_no_byte_beside_the_image_is_read() -> None:
    """Between pages that must not be touched, images of any width are read to their last byte."""
    command = [sys.executable, "-W", "ignore", "-c", READ_BETWEEN_FORBIDDEN_PAGES]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "read"), ended.stderr


def test_kernels_work_where_nothing_can_be_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder for machine code, numba's refusal becomes a compilation in each process."""
    njit = jit.njit

    def refuse(**options: object):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(jit, "njit", refuse)
    assert jit.entry_point(lambda x: x + 1)(2) == 3


def test_machine_code_belongs_to_its_sources() -> None:
    """The kernel that runs says which sources it is from: a cached one cannot be of older ones."""
    tasks, one = np.zeros(0, VIEW_TASK), np.ones(3, np.float32)
    digest = render_tasks(tasks, 0, 0, one, one, FLOAT32, make_scratch(Needs(9, 9, 9, 9)))
    assert digest == jit.SOURCES_DIGEST


@pytest.mark.parametrize("offset", [0, 4])
@pytest.mark.parametrize("count", [1, 16, 50, 224])
def test_streamed_and_stored_pixels_are_the_same(count: int, offset: int) -> None:
    """Past the caches or not, a pixel is `x * scale + shift` at its place, and nothing else is."""
    planes = np.random.default_rng(0).random((3, count)).astype(np.float32)
    scale, shift = np.array([2, 3, 5], np.float32), np.array([-1, 0, 1], np.float32)
    expected = (planes.T.astype(float) * scale + shift).ravel()
    memory = np.full(3 * count + 3 * ALIGNMENT, np.nan, np.float32)
    first = -memory.ctypes.data % ALIGNMENT // 4 + offset
    out = memory[first : first + 3 * count]
    write_float32(*planes, scale, shift, out, offset == 0)
    assert np.abs(out - expected).max() < 1e-6
    assert np.isnan(memory).sum() == 3 * ALIGNMENT
