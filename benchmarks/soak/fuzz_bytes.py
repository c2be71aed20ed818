"""Damage that any file can take: flipped, lost, repeated and foreign bytes, and numbers that lie.

`fuzz_kinds.py` puts it on top of the damage that needs to know a format. Everything is drawn from
the generator of the case, so that a case comes back by its number.
"""

import random
import struct
from collections.abc import Callable, Sequence

# What breaks readers: borders of integer types, in every size and byte order, and text for numbers.
_BORDERS = (0, 1, -1, 127, 128, 255, 256, 32_767, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
_FORMATS = ("<b", "<h", ">h", "<i", ">i", "<q", ">q")
_WORDS = (b"\0" * 8, b"\xff" * 8, b"-1", b"1e999", b"nan", b"9" * 400, b"../../", b"\r\n", b"%s%n")
_MAX_BYTES = 1 << 20


def mutate_bytes(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """One to four random damages; at most 1 MiB comes out."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = rng.choice(_DAMAGES)(data, rng, others)[:_MAX_BYTES]
    return data


def _flip(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_near_the_start(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    head = rng.choice((32, 128, 600))
    return _flip(data[:head], rng, others) + data[head:]


def _cut(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _lose(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _repeat(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    return data[:end] + data[start:end] * rng.choice((1, 1, 2, 50)) + data[end:]


def _splice(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    start, end = _span(other, rng)
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at + rng.choice((0, end - start)) :]


def _noise(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def _lie(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A border of an integer type over whatever stands somewhere."""
    form = rng.choice(_FORMATS)
    size = struct.calcsize(form)
    number = rng.choice(_BORDERS) & ((1 << 8 * size) - 1)
    order = "big" if form[0] == ">" else "little"
    return _overwrite(data, rng, number.to_bytes(size, order))


def _say(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return _overwrite(data, rng, rng.choice(_WORDS))


def _overwrite(data: bytes, rng: random.Random, word: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + word + data[at + len(word) :]


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    length = rng.choice((1, 4, 16, 256, len(data)))
    return start, min(len(data), start + rng.randrange(length + 1))


_DAMAGES: tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...] = (
    _flip,
    _flip_near_the_start,
    _cut,
    _lose,
    _repeat,
    _splice,
    _noise,
    _lie,
    _say,
)
