"""Damage that any file can take: a span flipped, lost, repeated, or overwritten by what lies."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
# What breaks readers: borders of integer types in every size and byte order, text for numbers.
_BORDERS = (0, 1, -1, 127, 128, 255, 256, 32_767, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
_WORDS = (b"\0" * 8, b"\xff" * 8, b"-1", b"1e999", b"nan", b"9" * 400, b"../../", b"\r\n", b"%s%n")
_NUMBERS = tuple(
    (number & ((1 << 8 * size) - 1)).to_bytes(size, order)
    for number in _BORDERS
    for size in (1, 2, 4, 8)
    for order in ("little", "big")
)
_MAX_BYTES = 1 << 20


def picker(draw: Draw) -> Callable[..., Any]:
    """`pick(a, b, c)`: one of them."""
    return lambda *values: draw(st.sampled_from(values))


def block(kind: str, *values: int) -> bytes:
    """Numbers packed by `struct`, those that do not fit cut to size."""
    masks = {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFF_FFFF}
    codes = [code for code in kind if code in masks]
    return struct.pack(kind, *(v & masks[code] for code, v in zip(codes, values, strict=True)))


@st.composite
def damaged(draw: Draw, good: bytes, others: Sequence[bytes] = ()) -> bytes:
    """A file after one to four damages, parts of others in it; at most 1 MiB."""
    data = good
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3, 4)))):
        data = _once(draw, data, others or [good])[:_MAX_BYTES]
    return data


def _once(draw: Draw, data: bytes, others: Sequence[bytes]) -> bytes:
    pick = picker(draw)
    # Headers stand at the start, and most of what can go wrong in them.
    start = draw(st.integers(0, pick(32, 128, 600, len(data)))) if data else 0
    end = start + pick(1, 1, 4, 16, 256, len(data))
    span, rest = data[start:end], data[end:]
    kind = pick("flip", "flip", "cut", "lose", "repeat", "splice", "noise", "number", "word")
    if kind == "cut":
        return data[:start]
    if kind in ("number", "word"):  # in the place of as many bytes
        span = pick(*(_NUMBERS if kind == "number" else _WORDS))
        rest = data[start + len(span) :]
    elif kind == "flip" and span:
        at = draw(st.integers(0, len(span) - 1))
        span = span[:at] + bytes([span[at] ^ 1 << pick(*range(8))]) + span[at + 1 :]
    elif kind == "lose":
        span = b""
    elif kind == "repeat":
        span *= pick(2, 3, 50)
    elif kind == "splice":
        other = pick(*others)
        at = draw(st.integers(0, len(other)))
        span = other[at : at + pick(4, 256, len(other))]
    elif kind == "noise":
        span = draw(st.binary(min_size=min(len(span), 64), max_size=64))
    return data[:start] + span + rest
