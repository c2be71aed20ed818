"""A batch on the GPU: one upload, then resize, contrast and blur on one stream.

    gpu_task -> upload -> gpu_resize -> gpu_contrast -> gpu_blur_half                  16-bit views
                                                     -> gpu_blur along x, along y     float32 views

Nothing waits: the upload leaves pinned memory, which torch keeps until the copy is over, and the
scratch is used again in the order of the stream. What no view needs is not launched.

What limits it, counted and not measured: SwAV 2+6 of 500x375 in bfloat16 is 155,648 pixels an
image. It reads windows of 0.85 MB, writes views of 0.93 MB and moves 2.4 MB of scratch: 0.9 us at
the 4.8 TB/s of an H200. It has some 280 instructions a pixel (150 of the resize, 40 of the blur,
the rest for colours, loads and stores; the form for float32 views has 520): 1.5 us at 132 x 128 a
cycle and 1.75 GHz, if one went out in every cycle.
"""

import threading
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from augengine.kernels.gpu_blur import blur_columns
from augengine.kernels.gpu_blur_half import blur_tiles
from augengine.kernels.gpu_contrast import contrast_views
from augengine.kernels.gpu_resize import resize_views
from augengine.kernels.gpu_resize_half import resize_tiles
from augengine.kernels.gpu_task import (
    ALIGNMENT,
    TILE_PX,
    Launches,
    Needs,
    launches_of,
    place_in_scratch,
)

TRITON_TYPES = {
    torch.float32: tl.float32,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
}
# What every kernel takes, as Triton names the types, in this order; all are aligned to ALIGNMENT.
POINTERS = {
    "p_section": "*i32",
    "p_long": "*i64",
    "p_word": "*i32",
    "p_float": "*fp32",
    "p_kept": "*fp16",  # for float32 views "*i64"
    "p_floats": "*fp32",
}
# Rows that a program makes at once: on a GPU as many as pay, in the interpreter all of a tile.
INTERPRETED_ROWS = TILE_PX
# 16-bit views whose sizes are multiples are read and written in words of several pixels.
ALIGNED_PX = 8
# A product and a sum may be one instruction; Triton's own default changes with its version.
OPTIONS = {"enable_fp_fusion": True}
# Triton compiles a kernel at its first launch, and does not say that several threads may do so.
_LAUNCHING = threading.Lock()


class Kernel(NamedTuple):
    """One launch of a batch."""

    function: Any  # a triton.jit function
    section: str  # of Launches: which tiles it makes
    options: dict[str, int]  # of the compiler
    constants: dict[str, int]  # beside DTYPE; ALIGNED is the batch's


EXACT_KERNELS = {
    "resize": Kernel(resize_views, "resize", {"num_warps": 1}, {"ROWS": 4}),
    "contrast": Kernel(contrast_views, "contrast", {"num_warps": 4}, {"ALIGNED": False}),
    "blur along x": Kernel(blur_columns, "blur", {"num_warps": 1}, {"ROWS": 8, "LAST": False}),
    "blur along y": Kernel(blur_columns, "blur", {"num_warps": 1}, {"ROWS": 8, "LAST": True}),
}
HALF_KERNELS = {
    # So few registers make six blocks a multiprocessor of four, for 2 % more instructions.
    "resize": Kernel(resize_tiles, "resize", {"num_warps": 2, "maxnreg": 168}, {"ALIGNED": True}),
    "contrast": Kernel(contrast_views, "contrast", {"num_warps": 4}, {"ALIGNED": True}),
    "blur": Kernel(blur_tiles, "blur", {"num_warps": 2}, {"ALIGNED": True}),
}


class Scratch:
    """Memory between the launches of one stream; it grows to the largest batch and stays."""

    def __init__(self, device: torch.device) -> None:
        self.pixels = torch.empty(0, dtype=torch.uint8, device=device)
        self.floats = torch.empty(0, dtype=torch.float32, device=device)

    def grow(self, needs: Needs) -> None:
        """Make room; call it on the stream that the scratch belongs to."""
        if self.pixels.numel() < needs.pixel_bytes:
            # The old one first: it may be half of the memory that is asked for.
            self.pixels = self.pixels.new_empty(0)
            self.pixels = self.pixels.new_empty(_rounded(needs.pixel_bytes))
        if self.floats.numel() < needs.floats:
            self.floats = self.floats.new_empty(_rounded(needs.floats))


def render_tasks(
    tasks: np.ndarray,  # [B, V] VIEW_TASK - B at least 1; their places in the scratch are filled in
    dtype: torch.dtype,
    exact: bool,  # the form for float32 views; others can have it too
    scratch: Scratch,
) -> None:
    """Make the views of some images, on the current stream."""
    scratch.grow(place_in_scratch(tasks, exact))
    launches = launches_of(tasks)
    records, sections = _upload(tasks, launches, scratch.pixels.device)
    pointers = [
        *(records.view(word) for word in (torch.int64, torch.int32, torch.float32)),
        scratch.pixels.view(torch.int64 if exact else torch.float16),
        scratch.floats,
    ]
    aligned = not (exact or (tasks["size"] % ALIGNED_PX).any())
    with _LAUNCHING:
        for kernel in (EXACT_KERNELS if exact else HALF_KERNELS).values():
            num_programs = len(getattr(launches, kernel.section))
            if num_programs:
                kernel.function[(num_programs,)](
                    sections[kernel.section],
                    *pointers,
                    DTYPE=TRITON_TYPES[dtype],
                    **_constants(kernel, aligned),
                    **kernel.options,
                    **OPTIONS,
                )


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter: TRITON_INTERPRET=1 when they were imported."""
    return not isinstance(resize_views, triton.JITFunction)


def _constants(kernel: Kernel, aligned: bool) -> dict[str, int]:
    here = {"ROWS": INTERPRETED_ROWS} if is_interpreted() else {}
    here["ALIGNED"] = aligned
    return {name: here.get(name, value) for name, value in kernel.constants.items()}


def _upload(
    tasks: np.ndarray, launches: Launches, device: torch.device
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The records as bytes and the sections on the device, in one copy that nobody awaits."""
    parts = {"records": tasks.reshape(-1).view(np.uint8)}
    parts |= {name: each.reshape(-1).view(np.uint8) for name, each in launches._asdict().items()}
    starts, num_bytes = {}, 0
    for name, part in parts.items():
        starts[name] = num_bytes
        num_bytes += -(-len(part) // ALIGNMENT) * ALIGNMENT
    block = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
    filled = block.numpy()
    for name, part in parts.items():
        filled[starts[name] : starts[name] + len(part)] = part
    block = block.to(device, non_blocking=True)
    there = {n: block[starts[n] : starts[n] + len(part)] for n, part in parts.items()}
    records = there.pop("records")
    return records, {name: part.view(torch.int32) for name, part in there.items()}


def _rounded(count: int) -> int:
    """A quarter more than needed, so that batches of about one size are one size; of int64."""
    return -(-(count + count // 4) // 8) * 8
