"""The CPU kernels' parts: weights, taps, buffers that are kept to, and the cache of code."""

import numpy as np
import pytest
import torch

from augengine.backends.fused import _tasks_of
from augengine.draw import draw_plan
from augengine.kernels import jit
from augengine.kernels.cpu_blur import fill_taps
from augengine.kernels.cpu_resize import fill_axis
from augengine.kernels.cpu_task import VIEW_TASK, Needs, Scratch, make_scratch
from augengine.kernels.cpu_write import BFLOAT16, FLOAT32
from augengine.kernels.fused_cpu import render_tasks
from augengine.plan import Plan
from augengine.policies import load_policy
from augengine.reference import resize_weights

GUARD = 64  # floats on both sides of a buffer


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_axis_weights_are_the_references(bicubic: bool, mirrored: bool) -> None:
    """Weights and first pixels of an axis, spread out, are the reference's matrix; padding is 0."""
    for in_px in (1, 2, 3, 7, 50, 223, 224, 500):
        for out_px in (1, 2, 13, 32, 224):
            weights, starts = np.full(out_px * 2100, np.nan, np.float32), np.zeros(out_px, np.int64)
            taps = fill_axis(in_px, out_px, bicubic, mirrored, 1.0, weights, starts)
            found = np.zeros((out_px, in_px + taps))
            for row in range(out_px):
                found[row, starts[row] : starts[row] + taps] = weights[
                    row * taps : row * taps + taps
                ]
            expected = resize_weights(in_px, out_px, bicubic=bicubic)
            expected = expected[::-1] if mirrored else expected
            assert np.abs(found[:, :in_px] - expected).max() < 1e-7
            assert (found[:, in_px:] == 0).all()


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
