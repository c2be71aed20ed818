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

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from augengine.kernels.gpu_launch import KERNELS, OPTIONS, POINTERS, TRITON_TYPES, Kernel
from augengine.kernels.gpu_task import ALIGNMENT

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


def compile_kernel(kernel: Kernel, dtype: object, architecture: str) -> dict[str, int]:
    """Compile as a launch would; registers, bytes of stack and shared memory, spills."""
    constants = {"DTYPE": dtype, **kernel.constants}
    signature = POINTERS | dict.fromkeys(constants, "constexpr")
    # What a launch finds out about the pointers it is given; without it code would differ.
    aligned = {(k,): [["tt.divisibility", ALIGNMENT]] for k in range(len(POINTERS))}
    source = ASTSource(kernel.function, signature, constexprs=constants, attrs=aligned)
    target = GPUTarget("cuda", int(architecture.removeprefix("sm_")), 32)
    options = {"num_warps": kernel.num_warps, **OPTIONS}
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
        kernels = {
            f"{name}, {str(dtype).removeprefix('torch.')}, {architecture}": compile_kernel(
                kernel, triton_type, architecture
            )
            for architecture in architectures
            for name, kernel in KERNELS.items()
            for dtype, triton_type in TRITON_TYPES.items()
        }
    json.dump({"triton": triton.__version__, "kernels": kernels}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
