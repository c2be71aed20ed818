"""The fused backend on CUDA: all views of a batch in three launches of Triton kernels, or four.

A plan becomes a table of records, one a view (`VIEW_TASK`), uploaded once; the images are read
where they lie. Launches follow each other on the caller's stream and nothing waits for them. The
views of one plan are bit-equal whatever batch they are part of.

16-bit views are resized and blurred on tensor cores, with float16 between the launches: they are
within 0.4 levels of 255 of the reference, on average within 0.1, before their own rounding, which
is as large in float16 and larger in bfloat16. float32 views, and with `exact` all views, are summed
in float32 throughout, in four launches and about twice the instructions.

Each of the kernels is compiled by the first batch that needs it (some seconds) and then kept on
disk by Triton.

Legend: B images, V views over all crop groups, S crop side in pixels.
"""

import threading
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from augengine.backends.check import check_inputs
from augengine.backends.turning import turn_views
from augengine.kernels.gpu_launch import TRITON_TYPES, Scratch, is_interpreted, render_tasks
from augengine.kernels.gpu_task import scratch_bytes, view_tasks
from augengine.plan import Plan
from shards.errors import UsageError

# Of scratch for what lies between launches; a batch that needs more is made in pieces.
SCRATCH_BYTES = 1 << 30


class FusedCudaBackend:
    """Executes plans on one GPU; may be called by many threads, each on a stream of its own.

    Scratch belongs to a thread and its stream, grows to the largest batch and stays. Raises
    UsageError for a device or a dtype that it has no kernel for. In Triton's interpreter
    (TRITON_INTERPRET=1 before it is imported) it runs on the CPU, very slowly: for tests.
    """

    name = "fused"

    def __init__(
        self,
        device: torch.device | str,
        dtype: torch.dtype = torch.float32,
        *,
        exact: bool = False,  # 16-bit views that are the float32 ones, rounded once
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.exact = exact or dtype == torch.float32
        if self.device.type != ("cpu" if is_interpreted() else "cuda"):
            raise UsageError(
                f"the fused backend's GPU kernels run on cuda, or on cpu with TRITON_INTERPRET=1, "
                f"got device {self.device}; make the backend with create_backend"
            )
        if dtype not in TRITON_TYPES:
            raise UsageError(
                f"the fused backend writes {', '.join(map(str, TRITON_TYPES))}, got {dtype}; use "
                "one of these"
            )
        self._thread = threading.local()

    @torch.no_grad()
    def __call__(self, images: Sequence[torch.Tensor], plan: Plan) -> tuple[torch.Tensor, ...]:
        """Per crop group one [V, B, C, S, S] tensor; `flatten(0, 1)` is channels_last.

        The kernels may still run on the current stream. Raises ValueError when an image is not
        what the plan was drawn for.
        """
        check_inputs(images, plan, self.device)
        # A copy, where one is made, goes back to torch at the end: in the order of this stream.
        images = [image.contiguous() for image in images]
        with torch.cuda.device(self.device if self.device.type == "cuda" else -1):
            outs = [self._empty(plan, group) for group in plan.groups]
            addresses = np.array([image.data_ptr() for image in images], np.int64)
            tasks = view_tasks(plan, addresses, _view_addresses(plan, outs))
            for rows in _pieces(tasks, self.exact):
                render_tasks(tasks[rows], self.dtype, self.exact, self._scratch())
            views = tuple(out.permute(0, 1, 4, 2, 3) for out in outs)
            turn_views(views, plan)
        return views

    def _empty(self, plan: Plan, group: tuple[int, ...]) -> torch.Tensor:
        size = int(plan.size_px[group[0]])
        shape = (len(group), plan.batch_size, size, size, 3)
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def _scratch(self) -> Scratch:
        """The calling thread's, for its current stream."""
        if not hasattr(self._thread, "scratches"):
            self._thread.scratches = {}
        scratches: dict[int, Scratch] = self._thread.scratches
        on_cuda = self.device.type == "cuda"
        stream = torch.cuda.current_stream(self.device).cuda_stream if on_cuda else 0
        if stream not in scratches:
            scratches[stream] = Scratch(self.device)
        return scratches[stream]


def _view_addresses(plan: Plan, outs: Sequence[torch.Tensor]) -> np.ndarray:
    """[B, V] int64: where each view is to be written."""
    addresses = np.zeros((plan.batch_size, plan.num_views), np.int64)
    for group, out in zip(plan.groups, outs, strict=True):
        per_view = out.stride(1) * out.element_size()
        number = np.arange(len(group)) * plan.batch_size + np.arange(plan.batch_size)[:, None]
        addresses[:, list(group)] = out.data_ptr() + number * per_view
    return addresses


def _pieces(tasks: np.ndarray, exact: bool) -> list[slice]:
    """Runs of images whose scratch fits SCRATCH_BYTES; one image may need more."""
    edges, used = [0], 0
    for b, num_bytes in enumerate(scratch_bytes(tasks, exact).tolist()):
        used += num_bytes
        if used > SCRATCH_BYTES and b > edges[-1]:
            edges.append(b)
            used = num_bytes
    edges.append(len(tasks))
    return [slice(a, b) for a, b in pairwise(edges) if b > a]
