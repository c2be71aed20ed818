"""The fused backend: every view from its image in one kernel, on all CPU threads it is given.

A plan becomes a table of tasks, one a view (`VIEW_TASK`), sample by sample so that an image stays
in the cache for all its views; threads take runs of tasks and run `render_tasks` without the GIL.
No torch op touches a pixel, but where the plan turns a view (`turning.py`).
The views of one plan are bit-equal for any number of threads and any
batch they are part of.

The kernel is compiled by the first call on a machine (about ten seconds, told on a terminal) and
then kept on disk: later processes load it in a fraction of a second.

Legend: B images, V views over all crop groups, S crop side in pixels.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch

from augengine.backends.check import check_inputs
from augengine.backends.recycled import RecycledMemory
from augengine.backends.turning import turn_views
from augengine.kernels.cpu_colour import GRAY, SKIP
from augengine.kernels.cpu_task import NUM_OPS, VIEW_TASK, Needs, Scratch, make_scratch
from augengine.kernels.cpu_write import BFLOAT16, FLOAT16, FLOAT32
from augengine.kernels.fused_cpu import render_tasks
from augengine.plan import CONTRAST, ORDERS, Plan
from shards.errors import UsageError

PATIENCE_S = 1.5  # loading what an earlier process compiled takes less
RUNS_A_THREAD = 4  # more runs of tasks than threads: whose views are quick takes another one
_DTYPES = {torch.float32: FLOAT32, torch.float16: FLOAT16, torch.bfloat16: BFLOAT16}
_NEUTRAL = np.array([1, 1, 1, 0], np.float32)  # brightness, contrast, saturation, hue


class FusedBackend:
    """Executes plans on the CPU, `num_threads` views at a time; may be called by many threads.

    Buffers belong to the threads, grow to the largest plan and stay. Raises UsageError for a device
    or a dtype that it has no kernel for.
    """

    name = "fused"

    def __init__(
        self,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        num_threads: int = 1,
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        if self.device.type != "cpu":
            raise UsageError(
                f"FusedBackend runs on cpu, got device {self.device}; make the backend with "
                "create_backend, which knows the one for cuda"
            )
        if dtype not in _DTYPES:
            raise UsageError(
                f"the fused backend writes {', '.join(map(str, _DTYPES))}, got {dtype}; use one of "
                "these"
            )
        if num_threads < 1:
            raise UsageError(f"num_threads is at least 1, got {num_threads}")
        self._num_threads = num_threads
        self._pool = ThreadPoolExecutor(num_threads, "fused") if num_threads > 1 else None
        self._thread = threading.local()
        self._memory = RecycledMemory()

    def __call__(self, images: Sequence[torch.Tensor], plan: Plan) -> tuple[torch.Tensor, ...]:
        """Per crop group one [V, B, C, S, S] tensor; `flatten(0, 1)` is channels_last.

        Raises ValueError when an image is not what the plan was drawn for.
        """
        check_inputs(images, plan, self.device)
        images = [image.contiguous() for image in images]
        sizes = [int(plan.size_px[group[0]]) for group in plan.groups]
        outs = [
            self._memory.empty((len(group), len(images), size, size, 3), self.dtype)
            for group, size in zip(plan.groups, sizes, strict=True)
        ]
        tasks = _tasks_of(plan, images, outs)
        scale = (1 / np.array(plan.std)).astype(np.float32)
        shift = (-np.array(plan.mean) / np.array(plan.std)).astype(np.float32)
        dtype, needs = _DTYPES[self.dtype], Needs.of(tasks)

        def run(first: int, last: int, keep: object = (images, outs)) -> None:
            """Make some views; `keep` holds their memory while a thread may write to it."""
            render_tasks(tasks, first, last, scale, shift, dtype, self._scratch(needs))

        with _told_when_compiling():
            self._spread(run, len(tasks))
        views = tuple(out.permute(0, 1, 4, 2, 3) for out in outs)
        turn_views(views, plan)
        return views

    def _spread(self, run: Callable[[int, int], None], count: int) -> None:
        """Call `run(first, last)` on pieces of range(count); returns when all are done."""
        if self._pool is None or count == 0:
            run(0, count)
            return
        pieces = min(count, self._num_threads * RUNS_A_THREAD)
        edges = np.linspace(0, count, pieces + 1).astype(int).tolist()
        futures = [self._pool.submit(run, *edge) for edge in pairwise(edges)]
        wait(futures)
        for future in futures:
            future.result()

    def _scratch(self, needs: Needs) -> Scratch:
        """The calling thread's buffers, grown where they are too small."""
        have: Needs | None = getattr(self._thread, "needs", None)
        if have is None or have.join(needs) != have:
            needs = needs.join(have) if have else needs
            self._thread.needs, self._thread.scratch = needs, make_scratch(needs)
        return self._thread.scratch


@contextmanager
def _told_when_compiling() -> Iterator[None]:
    """Say why the first call of a machine takes so long, to a person who waits for it."""
    if render_tasks.signatures or not sys.stderr.isatty():
        yield
        return
    timer = threading.Timer(PATIENCE_S, _tell_of_compiling)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tell_of_compiling() -> None:
    if not render_tasks.stats.cache_hits:
        logging.getLogger(__name__).warning(
            "compiling the CPU kernels, about ten seconds, once on this machine ..."
        )


def _tasks_of(
    plan: Plan, images: Sequence[torch.Tensor], outs: Sequence[torch.Tensor]
) -> np.ndarray:
    """[B * V] VIEW_TASK: the views of image 0, then those of image 1, ..."""
    tasks = np.zeros((plan.batch_size, plan.num_views), VIEW_TASK)
    tasks["image"] = np.array([image.data_ptr() for image in images], np.int64)[:, None]
    tasks["image_height"], tasks["image_width"] = plan.image_sizes.T[:, :, None]
    for name, values in zip(
        ("top", "left", "height", "width"), np.moveaxis(plan.window, -1, 0), strict=True
    ):
        tasks[name] = values
    for name in ("size_px", "kernel_px", "sigma", "solarize", "flip", "gray", "bicubic"):
        tasks[name] = getattr(plan, name)
    order = ORDERS[plan.order]  # [B, V, 4]
    amounts = np.stack([plan.brightness, plan.contrast, plan.saturation, plan.hue], axis=-1)
    amounts = np.take_along_axis(amounts, order.astype(np.int64), axis=-1)
    tasks["amounts"][..., :4] = amounts
    ops = np.where(amounts == _NEUTRAL[order], SKIP, order)  # [B, V, 4]
    has_contrast = ops == CONTRAST
    tasks["contrast_at"] = np.where(has_contrast.any(-1), has_contrast.argmax(-1), NUM_OPS)
    tasks["ops"][..., :4] = ops
    tasks["ops"][..., 4] = np.where(plan.gray, GRAY, SKIP)
    for group, out in zip(plan.groups, outs, strict=True):
        per_view = out.stride(1) * out.element_size()
        number = np.arange(len(group)) * plan.batch_size + np.arange(plan.batch_size)[:, None]
        tasks["out"][:, list(group)] = out.data_ptr() + number * per_view
    return tasks.reshape(-1)
