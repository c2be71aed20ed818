"""The compilation of CPU kernels: numba without the GIL, code kept on disk, raw addresses.

The first call of a process compiles for some seconds or, later, loads what an earlier process
left in `__pycache__` (or numba's own cache folder where that cannot be written). Numba keys a
cached kernel by its own file only; `SOURCES_DIGEST`, closed over by the entry point, ties it to all
files of this folder but the GPU's, so that an edited helper is never hidden behind a stale kernel.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# Not nnan, ninf, arcp: a NaN must come out where one went in, and a division is a division.
# Not reassoc except where a sum asks for it: so the order of the other additions is as written.
FAST = {"contract", "nsz"}
SOURCES_DIGEST = int.from_bytes(
    hashlib.sha256(
        b"".join(
            path.read_bytes()
            for path in sorted(Path(__file__).parent.glob("*.py"))
            if not path.name.startswith("gpu_")
        )
    ).digest()[:6],
    "big",
)


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function that only other kernels call."""
    return njit(nogil=True, fastmath=FAST, error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a helper into each of its callers: for what runs once a vector, not once a row."""
    return njit(nogil=True, fastmath=FAST, error_model="numpy", forceinline=True)(function)


def summing(function: Callable[..., Any]) -> Any:
    """Compile a helper whose additions may be reordered, so that a sum runs on vectors."""
    return njit(nogil=True, fastmath=FAST | {"reassoc"}, error_model="numpy")(function)


def entry_point(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls; its machine code is kept on disk where possible."""
    try:
        return njit(nogil=True, fastmath=FAST, error_model="numpy", cache=True)(function)
    except RuntimeError:  # numba found no folder to write to: compile anew in each process
        return njit(nogil=True, fastmath=FAST, error_model="numpy")(function)


def machine_intrinsic(function: Callable[..., Any]) -> Any:
    """As numba's own, but typed as what it makes: something that kernels call."""
    return intrinsic(prefer_literal=True)(function)


@machine_intrinsic
def pointer(typingctx, address, dtype):
    """An integer address as a pointer that `numba.carray` accepts: `pointer(address, np.uint8)`."""
    result = types.CPointer(dtype.dtype)

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(result))

    return result(types.int64, dtype), generate


@machine_intrinsic
def borrow(typingctx, array):
    """The same array without its owner: slices of it cost no atomic reference counts."""

    def generate(context, builder, signature, arguments):
        borrowed = context.make_array(array)(context, builder, arguments[0])
        borrowed.meminfo = cgutils.get_null_value(borrowed.meminfo.type)
        borrowed.parent = cgutils.get_null_value(borrowed.parent.type)
        return borrowed._getvalue()

    return array(array), generate


@machine_intrinsic
def half_bits(typingctx, x):
    """The bits of a float32 rounded to the nearest float16, as uint16."""

    def generate(context, builder, signature, arguments):
        half = builder.fptrunc(arguments[0], ir.HalfType())
        return builder.bitcast(half, ir.IntType(16))

    return types.uint16(types.float32), generate
