"""How many kernels a loss launches on a GPU, counted without one.

Everything runs on tensors without memory. An operator of torch counts as one launch where it
computes something, which is the least it can be; one of ours as the kernels that its CUDA function
starts, with the operators of torch among them.
"""

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from trainer.losses.kernels import cosine_gpu, gram, gram_gpu, launch, sinkhorn_gpu, swapped_gpu

OURS: dict[str, Callable[..., Any]] = {
    "column_moments": lambda *given: gram.forward(*given, gram_gpu),
    "column_moments_backward": lambda *given: gram.backward(*given, gram_gpu),
    "cosine_sum": cosine_gpu.forward,
    "cosine_sum_backward": cosine_gpu.backward,
    "sample_potentials": sinkhorn_gpu.sample_potentials,
    "sinkhorn_step": sinkhorn_gpu.sinkhorn_step,
    "swapped_prediction": swapped_gpu.forward,
    "swapped_prediction_backward": swapped_gpu.backward,
}
FREE = ("_unsafe_view", "empty", "new_empty", "promote_types")  # beside what a schema calls a view


def count_launches(call: Callable[[], object]) -> int:
    """Launches of a call whose tensors are on the device "meta"."""
    counter, start = _Counter(), launch.start
    launch.start = counter.kernel
    try:
        with counter:
            call()
    finally:
        launch.start = start
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
        self.launches += not (_is_view(func) or func._opname.startswith(FREE))
        return func(*args, **(kwargs or {}))


def _is_view(func: Any) -> bool:
    results = func._schema.returns
    return any(r.alias_info is not None and not r.alias_info.is_write for r in results)
