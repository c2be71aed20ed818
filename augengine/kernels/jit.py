"""How the CPU kernels are compiled: numba without the GIL, code kept on disk, raw addresses.

The first call of a process compiles for some seconds or, later, loads what an earlier process
left in `__pycache__` (or numba's own cache folder where that cannot be written). Numba keys a
cached kernel by its own file only; `SOURCES_DIGEST`, closed over by the entry point, ties it to all
files of this folder, so that an edited helper is never hidden behind a stale kernel.
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
        b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    ).digest()[:6],
    "big",
)


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function that only other kernels call."""
    return njit(nogil=True, fastmath=FAST, error_model="numpy")(function)


def summing(function: Callable[..., Any]) -> Any:
    """Compile a helper whose additions may be reordered, so that a sum runs on vectors."""
    return njit(nogil=True, fastmath=FAST | {"reassoc"}, error_model="numpy")(function)


def entry_point(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls; its machine code is kept on disk where possible."""
    try:
        return njit(nogil=True, fastmath=FAST, error_model="numpy", cache=True)(function)
    except RuntimeError:  # numba found no folder to write to: compile anew in each process
        return njit(nogil=True, fastmath=FAST, error_model="numpy")(function)


def _intrinsic(function: Callable[..., Any]) -> Any:
    """As numba's own, but typed as what it makes: something that kernels call."""
    return intrinsic(prefer_literal=True)(function)


@_intrinsic
def pointer(typingctx, address, dtype):
    """An integer address as a pointer that `numba.carray` accepts: `pointer(address, np.uint8)`."""
    result = types.CPointer(dtype.dtype)

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(result))

    return result(types.int64, dtype), generate


@_intrinsic
def borrow(typingctx, array):
    """The same array without its owner: slices of it cost no atomic reference counts."""

    def generate(context, builder, signature, arguments):
        borrowed = context.make_array(array)(context, builder, arguments[0])
        borrowed.meminfo = cgutils.get_null_value(borrowed.meminfo.type)
        borrowed.parent = cgutils.get_null_value(borrowed.parent.type)
        return borrowed._getvalue()

    return array(array), generate


@_intrinsic
def half_bits(typingctx, x):
    """The bits of a float32 rounded to the nearest float16, as uint16."""

    def generate(context, builder, signature, arguments):
        half = builder.fptrunc(arguments[0], ir.HalfType())
        return builder.bitcast(half, ir.IntType(16))

    return types.uint16(types.float32), generate


@_intrinsic
def weigh_pixels(typingctx, line, at, weights, weight_at, taps, out, out_at):
    """`out[out_at:][:4] = sum over k < taps of weights[weight_at + k] * line[at + 3 k:][:4]`.

    One pixel of interleaved RGB and the float behind it as one vector of four: numba's own loops
    cannot be vectorised over the channels of a pixel. `taps` is a literal, its loop is unrolled.
    """
    if not isinstance(taps, types.IntegerLiteral):
        return None
    count = taps.literal_value
    lanes = ir.VectorType(ir.FloatType(), 4)

    def generate(context, builder, signature, arguments):
        def address(which, offset):
            array = context.make_array(signature.args[which])(context, builder, arguments[which])
            return builder.gep(array.data, [offset])

        def vector_at(which, offset):
            return builder.bitcast(address(which, offset), lanes.as_pointer())

        total = None
        for k in range(count):
            tap = ir.Constant(arguments[1].type, k)
            weight = builder.load(address(2, builder.add(arguments[3], tap)))
            spread = builder.insert_element(
                ir.Constant(lanes, ir.Undefined), weight, ir.Constant(ir.IntType(32), 0)
            )
            spread = builder.shuffle_vector(
                spread,
                ir.Constant(lanes, ir.Undefined),
                ir.Constant(ir.VectorType(ir.IntType(32), 4), [0] * 4),
            )
            offset = builder.add(arguments[1], ir.Constant(arguments[1].type, 3 * k))
            pixel = builder.load(vector_at(0, offset), align=4)
            term = builder.fmul(pixel, spread, flags=("contract",))
            total = term if total is None else builder.fadd(total, term, flags=("contract",))
        builder.store(total, vector_at(5, arguments[6]), align=4)
        return context.get_dummy_value()

    return types.none(line, types.intp, weights, types.intp, taps, out, types.intp), generate


@_intrinsic
def weigh_shifted(typingctx, line, offsets, weights, count, at, out, out_at, lanes):
    """`out[out_at:][:lanes] = sum over k < count of weights[k] * line[at + offsets[k]:][:lanes]`.

    The running sum stays in registers over all k, which numba's loops, vectorised over the lanes,
    would store and load once a k. `lanes` is a literal.
    """
    if not isinstance(lanes, types.IntegerLiteral):
        return None
    vector = ir.VectorType(ir.FloatType(), lanes.literal_value)

    def generate(context, builder, signature, arguments):
        def data(which):
            return context.make_array(signature.args[which])(
                context, builder, arguments[which]
            ).data

        lines, shifts, factors, outs = (data(which) for which in (0, 1, 2, 5))
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
        with cgutils.for_range(builder, arguments[3]) as loop:
            shift = builder.load(builder.gep(shifts, [loop.index]))
            source = builder.gep(lines, [builder.add(arguments[4], shift)])
            values = builder.load(builder.bitcast(source, vector.as_pointer()), align=4)
            factor = spread(builder, builder.load(builder.gep(factors, [loop.index])), vector)
            term = builder.fmul(values, factor, flags=("contract",))
            builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
        target = builder.bitcast(builder.gep(outs, [arguments[6]]), vector.as_pointer())
        builder.store(builder.load(total), target, align=4)
        return context.get_dummy_value()

    signature = types.none(line, offsets, weights, types.intp, types.intp, out, types.intp, lanes)
    return signature, generate


def spread(builder, scalar, vector):
    """The scalar in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, zeros)
