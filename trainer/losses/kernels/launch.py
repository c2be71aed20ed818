"""The launch of the losses' Triton kernels: one door, which a test or a benchmark may watch.

Legend of the kernels: prefix `p_` a pointer, `o_` an offset, `m_` a mask; ACC the type of sums.
All is loaded, then converted, then computed: bfloat16 arithmetic would round each step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}
# A product and a sum may be one instruction; Triton's own default changes with its version.
OPTIONS = {"enable_fp_fusion": True}
MAX_WARPS = 16
_jit: Any = triton.jit


class Kernel(NamedTuple):
    """A kernel with everything that it is compiled for but the types of its arguments."""

    function: Any  # a triton.jit function
    num_warps: int
    constants: dict[str, Any]


def kernel(function: Callable[..., Any]) -> Any:
    """As triton.jit; sizes of batches, which change, never lead to a second compilation."""
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    return _jit(function, do_not_specialize=[a for a in arguments if a.startswith("num_")])


def launch(
    kernel: Kernel,
    grid: tuple[int, ...],
    *arguments: torch.Tensor | int | float,
) -> None:
    """Run a kernel on the current stream of the tensors' device; nothing waits for it."""
    device = next(x.device for x in arguments if isinstance(x, torch.Tensor))
    # Triton launches on the current device, which need not be that of the tensors.
    with torch.cuda.device(device if device.type == "cuda" else -1):
        start(kernel, grid, *arguments)


def start(kernel: Kernel, grid: tuple[int, ...], *arguments: Any) -> None:
    """The function that `launch` calls; an ahead-of-time compiler puts itself here."""
    kernel.function[grid](*arguments, num_warps=kernel.num_warps, **kernel.constants, **OPTIONS)


def block_of(size: int, most: int = 1 << 16) -> int:
    """The power of two that holds `size` elements, at most `most`."""
    return min(most, 1 << (max(1, size) - 1).bit_length())


def warps_of(elements: int) -> int:
    """Warps for a tile, so that a thread has about eight elements."""
    return min(MAX_WARPS, max(1, block_of(elements) // (32 * 8)))
