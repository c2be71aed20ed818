"""Parts that the operators share: the dtype of sums, chunks of rows, Triton when asked for."""

from collections.abc import Iterator
from importlib.util import find_spec

import torch

from shards.errors import UsageError

# Of one chunk's input in the accumulator: with the few results kept beside it, it stays in or near
# the second-level cache of a core. Threads wait for each other at the end of every operation, so
# much smaller chunks cost more than they save where the cores are busy.
CHUNK_ELEMENTS = 1 << 17
# On a GPU, which has no such cache and starts every operation with a delay.
GPU_CHUNK_ELEMENTS = 1 << 24


def accumulator(*tensors: torch.Tensor) -> torch.dtype:
    """Float32, or float64 where an input has it: what sums and results are held in."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def chunks(
    num_rows: int,
    row_elements: int,  # of the largest input
    device: torch.device | None = None,  # None: the CPU
) -> Iterator[slice]:
    """Slices over the rows, about CHUNK_ELEMENTS each, at least one row."""
    most = GPU_CHUNK_ELEMENTS if device is not None and device.type == "cuda" else CHUNK_ELEMENTS
    step = max(1, most // max(1, row_elements))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def require_triton() -> None:
    """Raise UsageError where a kernel is asked for and Triton is not installed."""
    if find_spec("triton") is None:
        raise UsageError(
            "impl='fused' on cuda needs triton, got none; `pip install triton`, or use impl='torch'"
        )


def refuse_second(*_: object) -> None:
    """The derivative of a fused loss's backward, which is not written."""
    raise NotImplementedError(
        "a fused loss can be differentiated once, got a second derivative; use impl='torch'"
    )
