"""What the GPU kernels need on each architecture, as JSON: they are compiled here, without a GPU.

    python tests/augengine/kernels/gpu_compiled.py sm_80 sm_90 sm_100 > figures.json

Kept in gpu_compiled.json, for the Triton of constraints.txt: a change of the kernels, or of
Triton, shows as a change of that file.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from augengine.kernels.gpu_launch import (
    EXACT_KERNELS,
    HALF_KERNELS,
    OPTIONS,
    POINTERS,
    TRITON_TYPES,
    Kernel,
)
from augengine.kernels.gpu_task import ALIGNMENT

# Kernels, the type of what they keep, ALIGNED, and for which views each form is there.
FORMS = {
    "exact": (EXACT_KERNELS, "*i64", False, tuple(TRITON_TYPES)),
    "half": (HALF_KERNELS, "*fp16", True, (torch.float16, torch.bfloat16)),
    "half of odd size": (HALF_KERNELS, "*fp16", False, (torch.bfloat16,)),
}
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


def compile_kernel(
    kernel: Kernel, kept: str, constants: dict[str, object], architecture: str
) -> dict[str, int]:
    """Compile as a launch would; registers, bytes of stack and shared memory, spills."""
    constants = {n: constants.get(n, v) for n, v in ({"DTYPE": None} | kernel.constants).items()}
    signature = POINTERS | {"p_kept": kept} | dict.fromkeys(constants, "constexpr")
    # What a launch finds out about the pointers it is given; without it code would differ.
    aligned = {(k,): [["tt.divisibility", ALIGNMENT]] for k in range(len(POINTERS))}
    source = ASTSource(kernel.function, signature, constexprs=constants, attrs=aligned)
    target = GPUTarget("cuda", int(architecture.removeprefix("sm_")), 32)
    options = {**kernel.options, **OPTIONS}
    compiled = triton.compile(source, target=target, options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage, code = (_dump(flag, file.name) for flag in ("-res-usage", "-sass"))
    registers, stack = (int(re.findall(rf"{name}:(\d+)", usage)[-1]) for name in ("REG", "STACK"))
    return {
        "registers": registers,
        "stack_bytes": stack,
        "shared_bytes": compiled.metadata.shared,
        "spills": len(re.findall(r"\b(?:LDL|STL)\b", code)),
    }


def _dump(flag: str, path: str) -> str:
    command = [str(CUOBJDUMP), flag, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main(architectures: list[str]) -> None:
    """Compile every kernel for every type of view."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = folder
        found = {
            f"{form} {name}, {str(dtype).removeprefix('torch.')}, {architecture}": compile_kernel(
                kernel, kept, {"DTYPE": TRITON_TYPES[dtype], "ALIGNED": aligned}, architecture
            )
            for architecture in architectures
            for form, (kernels, kept, aligned, dtypes) in FORMS.items()
            for name, kernel in kernels.items()
            for dtype in dtypes
        }
    json.dump({"triton": triton.__version__, "kernels": found}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
