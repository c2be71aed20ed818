"""How many kernels a loss launches on a GPU, counted without one.

Everything runs on tensors without memory. An operator of torch counts as one launch where it
computes something, which is the least it can be; one of ours as the kernels that its CUDA function
starts, with the operators of torch among them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.losses.kernels import (
    chunks,
    cosine_gpu,
    gram,
    gram_gpu,
    hsic_gpu,
    hsic_op,
    launch,
    queue_op,
    sinkhorn_gpu,
    swapped_gpu,
    tiles_gpu,
    views_op,
)

OURS: dict[str, Callable[..., Any]] = {
    "attend_queue": partial(queue_op.attend, tiles_gpu),
    "attend_queue_backward": queue_op.differentiate,
    "column_moments": partial(gram.forward, on=gram_gpu),
    "column_moments_backward": partial(gram.backward, on=gram_gpu),
    "cosine_sum": cosine_gpu.forward,
    "cosine_sum_backward": cosine_gpu.backward,
    "kernel_sums": lambda z, everyone, first, *rest: hsic_op.forward(hsic_gpu, z, everyone, *rest),
    "kernel_sums_backward": partial(hsic_op.differentiate, hsic_gpu),
    "sample_potentials": sinkhorn_gpu.sample_potentials,
    "sinkhorn_step": sinkhorn_gpu.sinkhorn_step,
    "swapped_prediction": swapped_gpu.forward,
    "swapped_prediction_backward": swapped_gpu.backward,
    "view_scores": partial(views_op.forward, tiles_gpu),
    "view_scores_backward": partial(views_op.differentiate, tiles_gpu),
}
FREE = ("_unsafe_view", "empty", "new_empty", "promote_types")  # beside what a schema calls a view


def count_launches(
    call: Callable[..., object],
    *inputs: torch.Tensor,  # whose shapes, types and need of a gradient are all that counts
) -> int:
    """Launches of `call(*inputs)`."""
    counter, start, elements = _Counter(), launch.start, chunks.CHUNK_ELEMENTS
    launch.start, chunks.CHUNK_ELEMENTS = counter.kernel, chunks.GPU_CHUNK_ELEMENTS
    try:
        with FakeTensorMode():
            given = [torch.empty(x.shape, dtype=x.dtype) for x in inputs]
            for x, like in zip(given, inputs, strict=True):
                x.requires_grad_(like.requires_grad)
            with counter:
                call(*given)
    finally:
        launch.start, chunks.CHUNK_ELEMENTS = start, elements
    return counter.launches


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.launches = 0

    def kernel(self, *_: object) -> None:
        """In the place of launch.start."""
        self.launches += 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == "augengine":
            # What it computes with torch is counted as well.
            with self:
                return OURS[func._opname](*args, **(kwargs or {}))
        self.launches += not _is_free(func)
        return func(*args, **(kwargs or {}))


def _is_free(func: Any) -> bool:
    if func.namespace != "aten" or func._opname.startswith(FREE):
        return True
    results = func._schema.returns
    return any(r.alias_info is not None and not r.alias_info.is_write for r in results)
