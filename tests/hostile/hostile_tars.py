"""Tars that no packer writes: names that climb, sizes that lie, headers that go on and on.

Members are written header by header, since Python's writer refuses most of what is wanted here.
"""

import random
import tarfile
from collections.abc import Callable, Sequence
from typing import Any

from hostile.damaged_bytes import Draw, damaged, picker
from hypothesis import strategies as st

BLOCK = tarfile.BLOCKSIZE
_NAMES = tuple(
    "../../../../tmp/augengine-escape.jpg /tmp/augengine-escape.jpg a/../../b.jpg".split()
)
_NAMES += tuple("..jpg .jpg __x__.jpg no-extension a.b.c.d.jpg a//b.jpg con.jpg %s%n.jpg".split())
_NAMES += ("\N{SNOWMAN}" * 20 + ".jpg", "two\nlines.jpg", "\x1b[2J.jpg", "a" * 95 + ".jpg")
_LABELS = (b"", b"9" * 5000, b"-1", b"1e999", b"\xff\xfe", b"+-3", b"[" * 3000, b"cat\0dog")
_JSONS = (
    *(b"[" * 20_000, b'{"label": ' * 5_000 + b"1" + b"}" * 5_000, b'"label"', b"null"),
    *(b'{"label": 1e400}', b'{"label": NaN}', b'{"label": ' + b"9" * 5_000 + b"}"),
    *(b'{"label": {"a": [1]}}', b'{"label": 99999999999}'),
)
_SIZES = (-1, -512, -1024, 1, 511, 2**31, 2**33, 2**62, -(2**62), 10**18)


def header(name: bytes, *, kind: bytes = b"0", **fields: bytes) -> bytes:
    """A header block with a right checksum, whatever the rest."""
    parts = name[:100].ljust(100, b"\0"), fields.get("mode", b"0000644\0"), b"0000000\0" * 2
    parts += fields.get("size", _number(0)), b"00000000000\0", b" " * 8, kind, bytes(100)
    parts += fields.get("magic", b"ustar\x0000"), bytes(80)
    start = b"".join(parts) + fields.get("prefix", b"").ljust(155, b"\0")[:155]
    return _checked(start.ljust(BLOCK, b"\0"))


def member(name: bytes, data: bytes, kind: bytes = b"0", **fields: bytes) -> bytes:
    """A header, its data, and zeros up to the next block."""
    fields = {"size": _number(len(data)), **fields}
    return header(name, kind=kind, **fields) + data + b"\0" * (-len(data) % BLOCK)


def plain_tar(images: Sequence[bytes], rng: random.Random) -> bytes:
    """A good tar of a few labelled images, its end left away."""
    parts = []
    for number in range(rng.randrange(1, 5)):
        parts.append(member(b"%06d.jpg" % number, rng.choice(images)))
        if rng.random() < 0.6:
            parts.append(member(b"%06d.cls" % number, b"%d" % rng.randrange(3)))
    return b"".join(parts)


@st.composite
def tars(draw: Draw, images: Sequence[bytes]) -> tuple[str, bytes]:
    """A tar with one hostile part amid good members, or damaged by chance; and what it is."""
    pick, end = picker(draw), bytes(2 * BLOCK)
    good = plain_tar(images, draw(st.randoms(use_true_random=True)))
    name = pick("bytes", *HOSTILE, *HOSTILE)
    if name == "bytes":
        return name, draw(damaged(good + end, images))
    part = HOSTILE[name](pick, pick(*images))
    tar = pick(good, good, b"") + part + member(b"zz.jpg", pick(*images)) + end
    return (name, tar) if pick(*range(5)) else ("bytes", draw(damaged(tar, images)))


def _checked(block: bytes) -> bytes:
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _number(size: int) -> bytes:
    """A size as tar writes it: octal, or base 256 where octal has no room or no sign."""
    if 0 <= size < 8**11:
        return b"%011o\0" % size
    return (b"\xff" if size < 0 else b"\x80") + (size & ((1 << 88) - 1)).to_bytes(11, "big")


def _record(key: bytes, value: bytes) -> bytes:
    """A right PAX record: its length counts itself."""
    rest = b" " + key + b"=" + value + b"\n"
    length = next(n for n in range(len(rest), len(rest) + 9) if len(b"%d" % n) + len(rest) == n)
    return b"%d" % length + rest


def _pax(pick: Callable[..., Any], image: bytes) -> bytes:
    records: Callable[[], bytes] = pick(
        lambda: _record(b"path", b"../" * pick(1, 50, 9_000) + b"x.jpg"),
        lambda: _record(b"size", pick(b"%d" % pick(*_SIZES), b"x", b"", b"1e9", b"9" * 5_000)),
        lambda: _record(b"hdrcharset", pick(b"BINARY", b"\xff", b"utf-7")),
        lambda: _record(b"GNU.sparse.major", b"1") + _record(b"GNU.sparse.minor", b"0"),
        lambda: _record(b"GNU.sparse.map", pick(b"1", b"0,9", b"a,b", b"9" * 5_000)),
        lambda: _record(b"GNU.sparse.size", b"%d" % pick(*_SIZES)),
        lambda: _record(b"mtime", pick(b"nan", b"1e999", b"x")),
        lambda: b"%d path=a\n" % pick(0, 1, 5, 10**9),
        lambda: b"9" * pick(10, 4_000, 60_000, 500_000),
        lambda: b"".join(_record(b"k%d" % i, b"v") for i in range(pick(10, 5_000))),
    )
    pax = member(b"pax", records() * pick(1, 1, 2, 20), pick(b"x", b"x", b"g", b"X"))
    return pax + member(b"a.jpg", image)


def _long_name(pick: Callable[..., Any], image: bytes) -> bytes:
    length = pick(1, 100, 101, 5_000, 100_000, 700_000)
    name = (pick(b"a", b"../", b"/", b"9", b".", b"\xff") * length)[:length] + b".jpg\0"
    return member(b"././@LongLink", name, b"L") + member(b"a.jpg", image)


def _sparse(pick: Callable[..., Any], image: bytes) -> bytes:
    """An old GNU sparse file: a map of holes whose original size is anything."""
    start = bytearray(header(b"a.jpg", kind=b"S", size=_number(BLOCK), magic=b"ustar  \0"))
    start[386:398] = _number(pick(0, 512, *_SIZES))
    start[482], start[483:495] = pick(0, 1, 1), _number(pick(*_SIZES))
    extended = bytes(504) + b"\x01" + bytes(7)
    return _checked(bytes(start)) + extended * pick(0, 1, 200) + image


def _odd_size(pick: Callable[..., Any], image: bytes) -> bytes:
    kind = pick(*b"005LxgSZ".decode()).encode()
    return header(b"a.jpg", kind=kind, size=_number(pick(*_SIZES))) + image[:300].ljust(BLOCK)


def _odd_header(pick: Callable[..., Any], image: bytes) -> bytes:
    sizes = (b"\xff" * 12, b"\x80" + b"\xff" * 11, b" " * 12, b"8" * 12, bytes(12))
    fields = {
        "size": pick(*sizes),
        "magic": pick(bytes(8), b"ustar  \0", b"\xff" * 8),
        "prefix": pick(b"", b"../../..", b"/" * 155, b"\xff" * 155),
        "mode": pick(b"0000644\0", b"\xff" * 8, b"zzzzzzzz"),
    }
    return member(b"a.jpg", image, **fields)


def _many(pick: Callable[..., Any], image: bytes) -> bytes:
    kind, count = pick(b"0", b"5", b"g"), pick(10, 1_500)
    return b"".join(header(b"%d.jpg" % i, kind=kind) for i in range(count))


def _label(pick: Callable[..., Any], image: bytes) -> bytes:
    label = pick((b"lab.cls", pick(*_LABELS)), (b"lab.json", pick(*_JSONS)))
    return member(b"lab.jpg", image) + member(*label)


def _no_checksum(pick: Callable[..., Any], image: bytes) -> bytes:
    whole = member(b"a.jpg", image)
    wrong = pick(b"        ", b"\0" * 8, b"9999999\0", b"\x80" + b"\xff" * 7)
    return whole[:148] + wrong + whole[156:]


HOSTILE: dict[str, Callable[[Callable[..., Any], bytes], bytes]] = {
    "odd name": lambda pick, image: member(pick(*_NAMES).encode(), image),
    "odd size": _odd_size,
    "odd type": lambda pick, image: member(
        b"a.jpg", image, pick(*b"0\x001234567DKLMNSVgxX\xff".decode("latin-1")).encode("latin-1")
    ),
    "odd header": _odd_header,
    "long name": _long_name,
    "long names of nothing": lambda pick, image: (
        member(b"././@LongLink", b"", b"L") * pick(1, 3, 500)
    ),
    "pax": _pax,
    "sparse": _sparse,
    "label": _label,
    "key twice": lambda pick, image: b"".join(
        member(name, image) for name in (b"a.jpg", pick(b"a.jpg", b"a.JPG", b"b.jpg"), b"a.jpg")
    ),
    "many headers": _many,
    "no checksum": _no_checksum,
    "nothing but zeros": lambda pick, image: bytes(BLOCK * pick(1, 2, 100)),
}
