"""Tars that no packer writes: names that climb, sizes that lie, headers that go on and on.

`fuzz_kinds.py` calls `hostile_tar`. Members are written header by header, since Python's writer
refuses most of what is wanted here.
"""

import random
import struct
import tarfile
from collections.abc import Callable, Sequence

BLOCK = tarfile.BLOCKSIZE
_NAMES = (
    "../../../../tmp/augengine-escape.jpg",
    "/tmp/augengine-escape.jpg",
    "a/../../b.jpg",
    "..jpg",
    ".jpg",
    "__x__.jpg",
    "no-extension",
    "a.b.c.d.jpg",
    "\N{SNOWMAN}" * 20 + ".jpg",
    "two\nlines.jpg",
    "\x1b[2J.jpg",
    "a//b.jpg",
    "a" * 95 + ".jpg",
    "con.jpg",
    "%s%n.jpg",
)
_LABELS = (b"", b"9" * 5000, b"-1", b"1e999", b"\xff\xfe", b"+-3", b"[" * 3000, b"cat\0dog")
_JSONS = (
    b"[" * 20_000,
    b'{"label": ' * 5_000 + b"1" + b"}" * 5_000,
    b'{"label": 1e400}',
    b'{"label": NaN}',
    b'{"label": ' + b"9" * 5_000 + b"}",
    b'{"label": {"a": [1]}}',
    b'{"label": 99999999999}',
    b'"label"',
    b"null",
)
_TYPES = b"0\x001234567DKLMNSVgxX\xff"
_SIZES = (-1, -512, -1024, 1, 511, 2**31, 2**33, 2**62, -(2**62), 10**18)


def header(name: bytes, *, kind: bytes = b"0", **fields: bytes) -> bytes:
    """A header block with a right checksum, whatever the rest."""
    block = bytearray(BLOCK)
    block[0:100] = name[:100].ljust(100, b"\0")
    block[100:108] = fields.get("mode", b"0000644\0")
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = fields.get("size", _number(0))
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[257:265] = fields.get("magic", b"ustar\x0000")
    block[345:500] = fields.get("prefix", b"").ljust(155, b"\0")[:155]
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: bytes, data: bytes, kind: bytes = b"0", **fields: bytes) -> bytes:
    """A header, its data, and zeros up to the next block."""
    return (
        header(name, kind=kind, **{"size": _number(len(data)), **fields})
        + data
        + b"\0" * (-len(data) % BLOCK)
    )


def plain_tar(images: Sequence[bytes], rng: random.Random) -> bytes:
    """A good tar of a few labelled images."""
    parts = []
    for number in range(rng.randrange(1, 5)):
        parts.append(member(b"%06d.jpg" % number, rng.choice(images)))
        if rng.random() < 0.6:
            parts.append(member(b"%06d.cls" % number, b"%d" % rng.randrange(3)))
    return b"".join(parts) + bytes(2 * BLOCK)


def hostile_tar(images: Sequence[bytes], rng: random.Random) -> tuple[str, bytes]:
    """A tar with one hostile part amid good members, and what it is."""
    name = rng.choice(list(HOSTILE))
    good = plain_tar(images, rng)[: -2 * BLOCK]
    part = HOSTILE[name](images, rng)
    after = member(b"zz.jpg", rng.choice(images)) + bytes(2 * BLOCK)
    return name, (good if rng.random() < 0.7 else b"") + part + after


def _number(size: int) -> bytes:
    """A size as tar writes it: octal, or base 256 where octal has no room or no sign."""
    if 0 <= size < 8**11:
        return b"%011o\0" % size
    low = size & ((1 << 88) - 1)
    return (b"\xff" if size < 0 else b"\x80") + low.to_bytes(11, "big")


def _odd_name(images: Sequence[bytes], rng: random.Random) -> bytes:
    return member(rng.choice(_NAMES).encode(), rng.choice(images))


def _odd_size(images: Sequence[bytes], rng: random.Random) -> bytes:
    kind = rng.choice((b"0", b"0", b"5", b"L", b"x", b"g", b"S", b"Z"))
    return header(b"a.jpg", kind=kind, size=_number(rng.choice(_SIZES))) + rng.choice(images)[
        :300
    ].ljust(BLOCK, b"\0")


def _long_name(images: Sequence[bytes], rng: random.Random) -> bytes:
    length = rng.choice((1, 100, 101, 5_000, 100_000, 700_000))
    name = rng.choice((b"a", b"../", b"/", b"9", b".", b"\xff"))
    name = (name * length)[:length] + b".jpg\0"
    return member(b"././@LongLink", name, b"L") + member(b"a.jpg", rng.choice(images))


def _long_name_of_nothing(images: Sequence[bytes], rng: random.Random) -> bytes:
    return member(b"././@LongLink", b"", b"L") * rng.choice((1, 3, 500))


def _pax(images: Sequence[bytes], rng: random.Random) -> bytes:
    records = b"".join(rng.choice(_PAX)(rng) for _ in range(rng.choice((1, 1, 2, 20))))
    kind = rng.choice((b"x", b"x", b"g", b"X"))
    return member(b"pax", records, kind) + member(b"a.jpg", rng.choice(images))


def _record(key: bytes, value: bytes) -> bytes:
    """A right PAX record: its length counts itself."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


_PAX: tuple[Callable[[random.Random], bytes], ...] = (
    lambda rng: _record(b"path", b"../" * rng.choice((1, 50, 9_000)) + b"x.jpg"),
    lambda rng: _record(b"size", b"%d" % rng.choice(_SIZES)),
    lambda rng: _record(b"size", rng.choice((b"x", b"", b"1e9", b"9" * 5_000))),
    lambda rng: _record(b"hdrcharset", rng.choice((b"BINARY", b"\xff", b"utf-7"))),
    lambda rng: _record(b"GNU.sparse.major", b"1") + _record(b"GNU.sparse.minor", b"0"),
    lambda rng: _record(b"GNU.sparse.map", rng.choice((b"1", b"0,9", b"a,b", b"9" * 5_000))),
    lambda rng: _record(b"GNU.sparse.size", b"%d" % rng.choice(_SIZES)),
    lambda rng: _record(b"mtime", rng.choice((b"nan", b"1e999", b"x"))),
    lambda rng: b"%d path=a\n" % rng.choice((0, 1, 5, 10**9)),
    lambda rng: b"9" * rng.choice((10, 4_000, 60_000, 500_000)),
    lambda rng: b"".join(_record(b"k%d" % i, b"v") for i in range(rng.choice((10, 5_000)))),
)


def _sparse(images: Sequence[bytes], rng: random.Random) -> bytes:
    """An old GNU sparse file: a map of holes whose original size is anything."""
    block = bytearray(header(b"a.jpg", kind=b"S", size=_number(BLOCK), magic=b"ustar  \0"))
    block[386:398] = _number(rng.choice((0, 512, *_SIZES)))
    block[482] = rng.choice((0, 1, 1))
    block[483:495] = _number(rng.choice(_SIZES))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    extended = bytes(504) + b"\x01" + bytes(7)
    return bytes(block) + extended * rng.choice((0, 1, 200)) + rng.choice(images)


def _label(images: Sequence[bytes], rng: random.Random) -> bytes:
    extension, texts = rng.choice(((b"cls", _LABELS), (b"json", _JSONS)))
    image = member(b"lab.jpg", rng.choice(images))
    return image + member(b"lab." + extension, rng.choice(texts))


def _twice(images: Sequence[bytes], rng: random.Random) -> bytes:
    names = [b"a.jpg", rng.choice((b"a.jpg", b"a.JPG", b"b.jpg", b"a.png")), b"a.jpg"]
    return b"".join(member(name, rng.choice(images)) for name in names)


def _many(images: Sequence[bytes], rng: random.Random) -> bytes:
    kind = rng.choice((b"0", b"5", b"g"))
    return b"".join(header(b"%d.jpg" % i, kind=kind) for i in range(rng.choice((10, 1_500))))


def _odd_type(images: Sequence[bytes], rng: random.Random) -> bytes:
    kind = struct.pack("B", rng.choice(_TYPES))
    return member(b"a.jpg", rng.choice(images), kind)


def _odd_header(images: Sequence[bytes], rng: random.Random) -> bytes:
    fields = {
        "size": rng.choice((b"\xff" * 12, b"\x80" + b"\xff" * 11, b" " * 12, b"8" * 12, bytes(12))),
        "magic": rng.choice((bytes(8), b"ustar  \0", b"\xff" * 8)),
        "prefix": rng.choice((b"", b"../../..", b"/" * 155, b"\xff" * 155)),
        "mode": rng.choice((b"0000644\0", b"\xff" * 8, b"zzzzzzzz")),
    }
    return member(b"a.jpg", rng.choice(images), **fields)


def _no_checksum(images: Sequence[bytes], rng: random.Random) -> bytes:
    block = bytearray(member(b"a.jpg", rng.choice(images)))
    block[148:156] = rng.choice((b"        ", b"\0" * 8, b"9999999\0", b"\x80" + b"\xff" * 7))
    return bytes(block)


HOSTILE: dict[str, Callable[[Sequence[bytes], random.Random], bytes]] = {
    "odd name": _odd_name,
    "odd size": _odd_size,
    "long name": _long_name,
    "long names of nothing": _long_name_of_nothing,
    "pax": _pax,
    "sparse": _sparse,
    "label": _label,
    "key twice": _twice,
    "many headers": _many,
    "odd type": _odd_type,
    "odd header": _odd_header,
    "no checksum": _no_checksum,
    "nothing but zeros": lambda images, rng: bytes(BLOCK * rng.choice((1, 2, 100))),
}
