"""Sixteen floats at once, for what numba's own loops do not vectorise.

Numba makes vector code of a loop over neighbours in memory that does nothing else. A resize and a
blur want more: bytes of three channels, four rows in one register, sums that stay in registers over
all taps. So kernels have a type, sixteen float32, and the few operations on it that they need; LLVM
makes one, two or four machine vectors of it. Indices are not wrapped as Python's are.

A *quarter* is four neighbouring lanes: one pixel, or one of four rows.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import register_model

from augengine.kernels.jit import machine_intrinsic

LANES = 16
PIXEL_BYTES = 16  # read to get four pixels, which are 12
FLOAT, INT = ir.FloatType(), ir.IntType(32)
VECTOR, BYTES = ir.VectorType(FLOAT, LANES), ir.VectorType(ir.IntType(8), PIXEL_BYTES)


class FloatsType(types.Type):
    """The name of the sixteen floats in numba's type inference."""

    def __init__(self) -> None:
        super().__init__("Floats")


FLOATS = FloatsType()


@register_model(FloatsType)
class _FloatsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: FloatsType) -> None:
        super().__init__(manager, kind, VECTOR)


@machine_intrinsic
def spread(typingctx, x):
    """A float in every lane."""

    def generate(context, builder, signature, arguments):
        return _spread(builder, arguments[0])

    return FLOATS(types.float32), generate


@machine_intrinsic
def spread_from(typingctx, array, at):
    """`array[at]` in every lane."""

    def generate(context, builder, signature, arguments):
        place = _address(context, builder, signature, arguments, FLOAT)
        return _spread(builder, builder.load(place))

    return FLOATS(array, types.intp), generate


@machine_intrinsic
def load(typingctx, array, at):
    """`array[at : at + 16]` of float32."""

    def generate(context, builder, signature, arguments):
        return builder.load(_address(context, builder, signature, arguments, VECTOR), align=4)

    return FLOATS(array, types.intp), generate


@machine_intrinsic
def load_pixels(typingctx, image, at):
    """Four RGB pixels of bytes as floats, a zero behind each; reads four bytes too many."""
    return _load_pixels(image, 0)


@machine_intrinsic
def load_last_pixels(typingctx, image, at):
    """As `load_pixels`, but the four bytes too many are those before `at`."""
    return _load_pixels(image, PIXEL_BYTES - 12)


@machine_intrinsic
def store(typingctx, array, at, x):
    """`array[at : at + 16] = x`."""

    def generate(context, builder, signature, arguments):
        place = _address(context, builder, signature, arguments, VECTOR)
        builder.store(arguments[2], place, align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, FLOATS), generate


@machine_intrinsic
def store_quarter(typingctx, array, at, x, quarter):
    """`array[at : at + 4]` = one quarter of x, by a literal number."""
    if not isinstance(quarter, types.IntegerLiteral):
        return None
    lanes = _quarters(quarter.literal_value)

    def generate(context, builder, signature, arguments):
        part = builder.shuffle_vector(arguments[2], arguments[2], _mask(lanes))
        builder.store(part, _address(context, builder, signature, arguments, part.type), align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, FLOATS, quarter), generate


@machine_intrinsic
def stream(typingctx, array, at, x):
    """As `store`, past the caches; for addresses that are a multiple of 64 bytes."""

    def generate(context, builder, signature, arguments):
        place = _address(context, builder, signature, arguments, VECTOR)
        written = builder.store(arguments[2], place, align=64)
        written.set_metadata("nontemporal", builder.module.add_metadata([INT(1)]))
        return context.get_dummy_value()

    return types.none(array, types.intp, FLOATS), generate


@machine_intrinsic
def finish_streams(typingctx):
    """Let others see all that was streamed before anything that is written after this."""

    def generate(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(), generate


@machine_intrinsic
def prefetch(typingctx, array, at):
    """Have the cache line of `array[at]` fetched."""

    def generate(context, builder, signature, arguments):
        place = _address(context, builder, signature, arguments, ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [place.type, INT, INT, INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [place, INT(0), INT(3), INT(1)])  # to read, keep it near, data
        return context.get_dummy_value()

    return types.none(array, types.intp), generate


@machine_intrinsic
def add_product(typingctx, total, x, factor):
    """`total + x * factor`, rounded once where the machine can."""

    def generate(context, builder, signature, arguments):
        term = builder.fmul(arguments[1], arguments[2], flags=("contract",))
        return builder.fadd(arguments[0], term, flags=("contract",))

    return FLOATS(FLOATS, FLOATS, FLOATS), generate


@machine_intrinsic
def clamped(typingctx, x):
    """Every lane cut to [0, 1]."""

    def generate(context, builder, signature, arguments):
        (x,) = arguments
        zero, one = ir.Constant(VECTOR, None), ir.Constant(VECTOR, [FLOAT(1)] * LANES)
        # In this order of operands NaN is neither below nor above, and stays.
        x = builder.select(builder.fcmp_ordered("<", x, zero), zero, x)
        return builder.select(builder.fcmp_ordered(">", x, one), one, x)

    return FLOATS(FLOATS), generate


def _address(context: Any, builder: Any, signature: Any, arguments: Any, kind: ir.Type) -> Any:
    """Of element `arguments[1]` of the array `arguments[0]`, as a pointer to `kind`."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), kind.as_pointer())


def _spread(builder: Any, scalar: Any) -> Any:
    nothing = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, scalar, INT(0))
    return builder.shuffle_vector(first, nothing, _mask([0] * LANES))


def _load_pixels(image: Any, skip: int) -> Any:
    # Lane 16 is the first of the second operand, a vector of zeros.
    lanes = [skip + 3 * i + c if c < 3 else PIXEL_BYTES for i in range(4) for c in range(4)]

    def generate(context, builder, signature, arguments):
        at = builder.sub(arguments[1], ir.Constant(arguments[1].type, skip))
        place = _address(context, builder, signature, (arguments[0], at), BYTES)
        read = builder.load(place, align=1)
        spaced = builder.shuffle_vector(read, ir.Constant(BYTES, None), _mask(lanes))
        # From signed integers, for which there is an instruction also before AVX-512.
        return builder.sitofp(builder.zext(spaced, ir.VectorType(INT, LANES)), VECTOR)

    return FLOATS(image, types.intp), generate


def _mask(lanes: Sequence[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(INT, len(lanes)), list(lanes))


def _shuffle(lanes: Sequence[int]) -> Any:
    """An intrinsic (x, y) -> z with lanes by number: 0 to 15 are x's and 16 to 31 y's."""

    @machine_intrinsic
    def shuffled(typingctx, x, y):
        def generate(context, builder, signature, arguments):
            return builder.shuffle_vector(*arguments, _mask(lanes))

        return FLOATS(FLOATS, FLOATS), generate

    return shuffled


def _quarters(*numbers: int) -> list[int]:
    """0 to 3 are x's quarters, 4 to 7 y's."""
    return [4 * number + i for number in numbers for i in range(4)]


def _in_quarters(*numbers: int) -> list[int]:
    """The same in every quarter: 0 to 3 are lanes of x's, 4 to 7 of y's."""
    return [
        4 * quarter + number % 4 + number // 4 * LANES for quarter in range(4) for number in numbers
    ]


def _interleaving(part: int) -> tuple[Any, Any]:
    """Lanes 16 part on of r0 g0 b0 r1 g1 b1 ...: a shuffle of (r, g), then one of that and b."""
    places = [divmod(LANES * part + i, 3) for i in range(LANES)]  # (pixel, channel)
    red_green = [pixel + (LANES if channel == 1 else 0) for pixel, channel in places]
    with_blue = [LANES + pixel if channel == 2 else i for i, (pixel, channel) in enumerate(places)]
    return _shuffle(red_green), _shuffle(with_blue)


low_pairs, high_pairs = _shuffle(_quarters(0, 1, 4, 5)), _shuffle(_quarters(2, 3, 6, 7))
even_quarters, odd_quarters = _shuffle(_quarters(0, 2, 4, 6)), _shuffle(_quarters(1, 3, 5, 7))
zip_low, zip_high = _shuffle(_in_quarters(0, 4, 1, 5)), _shuffle(_in_quarters(2, 6, 3, 7))
join_low, join_high = _shuffle(_in_quarters(0, 1, 4, 5)), _shuffle(_in_quarters(2, 3, 6, 7))
backwards = _shuffle(range(LANES - 1, -1, -1))  # x from its last lane to its first; y is ignored
red_green_0, with_blue_0 = _interleaving(0)
red_green_1, with_blue_1 = _interleaving(1)
red_green_2, with_blue_2 = _interleaving(2)
