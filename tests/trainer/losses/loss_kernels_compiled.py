"""What the losses' Triton kernels need on each architecture, as JSON: compiled without a GPU.

    python tests/trainer/losses/loss_kernels_compiled.py sm_80 sm_90 sm_100 > figures.json

Kept in loss_kernels_compiled.json, for the Triton of constraints.txt. The operators' CUDA functions
run on tensors without memory, and a compiler stands where their kernels would start: so what is
compiled is what a launch would compile.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from trainer.losses.kernels import (
    cosine_gpu,
    gram,
    gram_gpu,
    hsic_gpu,
    launch,
    sinkhorn_gpu,
    swapped_gpu,
    tiles_gpu,
)
from trainer.losses.kernels.launch import OPTIONS, Kernel
from trainer.losses.kernels.rows import given

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
ALIGNMENT = 16  # bytes, of torch's allocations


def cosine(dtype: torch.dtype) -> None:
    """BYOL's and SimSiam's sizes."""
    for dim in (256, 2048):
        p, z = empty(2, 32, dim, dtype=dtype), empty(2, 32, dim, dtype=dtype)
        cosine_gpu.forward(p, z, 1e-12)
        cosine_gpu.backward(empty(), p, z, 1e-12)


def swapped(dtype: torch.dtype) -> None:
    """SwAV's sizes, 2+6 views and few or many rows, and DINO's, 2+8 views."""
    for views, rows, dim in ((8, 512, 3000), (10, 64, 65536)):
        scores, logits = (empty(v, rows, dim, dtype=dtype) for v in (views, 2))
        f, g, lse = empty(2, dim), empty(2, rows), empty(views, rows)
        swapped_gpu.forward(scores, logits, f, g, 20.0, 0.1, 1.0)
        swapped_gpu.backward(empty(), scores, logits, f, g, lse, 20.0, 0.1, 1.0)
        sinkhorn_gpu.sample_potentials(logits, f, 20.0)
    sinkhorn_gpu.sinkhorn_step(empty(2, 512, 3000, dtype=dtype), None, 20.0)
    for num_rows in (512, 4096):
        sinkhorn_gpu.sinkhorn_step(empty(2, num_rows, 3000, dtype=dtype), empty(2, 3000), 20.0)


def moments(dtype: torch.dtype) -> None:
    """Barlow Twins' and VICReg's sizes, two views and 2+6, and many images of few features."""
    for views, rows, dim in ((2, 2048, 8192), (8, 512, 8192), (2, 4096, 2048)):
        z = empty(views, rows, dim, dtype=dtype)
        for eps in (1e-5, None):
            mean, second, squares, matrices = gram.forward(z, 2, eps, gram_gpu)
            gram.backward(mean, second, squares, z, mean, second, matrices, eps, gram_gpu)


def contrast(dtype: torch.dtype) -> None:
    """MoCo's queue and SimCLR's batch: rows of 128 and 256 elements, few and many."""
    for dim in (128, 256):
        queries, queue = given(empty(1, 256, dim, dtype=dtype)), given(empty(65536, dim))
        tiles_gpu.attend(queries, queue, 5.0, with_mean=True)
        z, everyone = (given(empty(*n, dim, dtype=dtype)) for n in ((2, 512), (4096,)))
        tiles_gpu.attend(z, everyone, 10.0, 512)
        rows, keys = empty(2, 512), empty(2, 4096)
        for asked, answered in ((rows, keys), (rows, None), (None, keys)):
            sides = [None if x is None else (x, x) for x in (asked, answered)]
            tiles_gpu.pull(z, everyone, 10.0, 512, *sides, empty(2, 512, dim))


def hsic(dtype: torch.dtype) -> None:
    """SSL-HSIC's rows of 256 elements, of a rank of eight."""
    z, everyone = (given(empty(*n, 256, dtype=dtype)) for n in ((1, 2048), (16384,)))
    hsic_gpu.add_up(z, everyone, 1.0)
    sides = [(x, x) for x in (empty(1, 2048), empty(1, 16384))]
    hsic_gpu.pull(z, everyone, 1.0, *sides, empty(1, 2048, 256))


PROBLEMS = (cosine, swapped, moments, contrast, hsic)


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def compile_kernel(kernel: Kernel, arguments: tuple[Any, ...], architecture: str) -> dict[str, int]:
    """Compile as a launch would; registers, bytes of stack and shared memory, spills."""
    names = kernel.function.arg_names
    signature = {name: _type(x) for name, x in zip(names, arguments, strict=False)}
    signature |= dict.fromkeys(names[len(arguments) :], "constexpr")
    # What a launch finds out about the pointers it is given; without it code would differ.
    aligned = {
        (k,): [["tt.divisibility", ALIGNMENT]]
        for k, x in enumerate(arguments)
        if isinstance(x, torch.Tensor)
    }
    source = ASTSource(kernel.function, signature, constexprs=kernel.constants, attrs=aligned)
    target = GPUTarget("cuda", int(architecture.removeprefix("sm_")), 32)
    options = {"num_warps": kernel.num_warps, **OPTIONS}
    compiled = triton.compile(source, target=target, options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [str(CUOBJDUMP), "-res-usage", "-sass", file.name]
        dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.findall(rf"\b{name}:(\d+)", dump)[-1]) for name in ("REG", "STACK"))
    return {
        "registers": registers,
        "stack_bytes": stack,
        "shared_bytes": compiled.metadata.shared,
        "spills": len(re.findall(r"\b(?:LDL|STL)\b", dump)),
        # Instructions of the tensor cores, of the three generations; a product needs them.
        "tensor_core": len(re.findall(r"\b(?:HMMA|HGMMA|UTC\w*MMA)\b", dump)),
        "products": compiled.asm["ttir"].count("tt.dot "),
    }


def _type(x: Any) -> str:
    if isinstance(x, torch.Tensor):
        return POINTERS[x.dtype]
    # Triton compiles again for an integer of 1 or a multiple of 16; sizes of batches are neither.
    return "i32" if isinstance(x, int) else "fp32"


def main(architectures: list[str]) -> None:
    """Compile every kernel that the problems launch, for every type."""
    found: dict[str, dict[str, int]] = {}
    for architecture in architectures:
        launch.start = partial(compile_instead, found, architecture)
        for problem in PROBLEMS:
            for dtype in POINTERS:
                # Types differ in how they are loaded and stored: one architecture will do for all.
                if dtype == torch.bfloat16 or architecture == "sm_90":
                    problem(dtype)
    json.dump({"triton": triton.__version__, "kernels": found}, sys.stdout, indent=1)


def compile_instead(
    found: dict[str, dict[str, int]],
    architecture: str,
    kernel: Kernel,
    grid: tuple[int, ...],
    *arguments: Any,
) -> None:
    """In the place of launch.start."""
    title = f"{_describe(kernel, arguments)}, {architecture}"
    if title not in found:
        found[title] = compile_kernel(kernel, arguments, architecture)


def _describe(kernel: Kernel, arguments: tuple[Any, ...]) -> str:
    sizes = " ".join(f"{k}={v}" for k, v in kernel.constants.items() if isinstance(v, int | bool))
    types = {x.dtype for x in arguments if isinstance(x, torch.Tensor)}
    short = [str(x).removeprefix("torch.") for x in POINTERS if x in types]
    return f"{kernel.function.fn.__name__} {sizes}, {short[-1]}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = folder
        main(sys.argv[1:])
