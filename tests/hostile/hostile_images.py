"""Small images of every format that is read, and images that are bombs or lie about themselves."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from hostile.damaged_bytes import Draw, block, damaged, picker
from hypothesis import strategies as st
from PIL import Image

_ODD_SIDES = (0, 1, 40, 9_000, 9_999, 10_001, 65_535, 2**31 - 1, 2**32 - 1)
Pick = Callable[..., Any]


@cache
def seed_images() -> dict[str, bytes]:
    """One image a format and mode, some 30 pixels a side."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    image = coarse.resize((40, 30), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(rng.integers(0, 65_536, (30, 40), dtype=np.uint16))
    single = Image.fromarray(rng.random((9, 7), np.float32))
    frames = [image, image.rotate(90, expand=True), image.convert("L")]
    made: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "jpeg": (image, {}),
        "jpeg progressive": (image, {"progressive": True}),
        "jpeg gray": (image.convert("L"), {}),
        "jpeg cmyk": (image.convert("CMYK"), {}),
        "jpeg turned": (image, {"exif": exif, "comment": b"a comment"}),
        "jpeg restarts": (image, {"restart_marker_blocks": 1}),
        "png": (image, {}),
        "png palette": (image.quantize(16), {"transparency": 3}),
        "png alpha": (image.convert("RGBA"), {}),
        "png 16 bit": (deep, {}),
        "gif": (image, {}),
        "gif animated": (image, {"save_all": True, "append_images": frames}),
        "webp": (image, {}),
        "webp lossless": (image.convert("RGBA"), {"lossless": True, "exif": exif}),
        "tiff": (image, {"exif": exif}),
        "tiff deflate": (image, {"compression": "tiff_deflate"}),
        "tiff jpeg": (image, {"compression": "jpeg"}),
        "tiff float": (single, {}),
        "bmp": (image, {}),
        "ppm": (image, {}),
    }
    return {name: _encode(x, name.split()[0], **options) for name, (x, options) in made.items()}


@st.composite
def images(draw: Draw) -> tuple[str, bytes]:
    """An image damaged by chance, or made to hurt; and what it is."""
    pick, good = picker(draw), seed_images()
    if not pick(*range(6)):
        name = pick(*HOSTILE)
        return name, HOSTILE[name](pick)
    name = pick(*[name for name in good if name.startswith("jpeg")], *good)
    return f"bytes of {name.split()[0]}", draw(damaged(good[name], list(good.values())))


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return block(">I", len(data)) + kind + data + block(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, packed: bytes, bits: int = 8, colours: int = 2) -> bytes:
    head = _chunk(b"IHDR", block(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


@cache
def _zeros(count: int) -> bytes:
    """A thousandth of the memory that it takes when unpacked."""
    return zlib.compress(bytes(count), 9)


def _png_that_lies(pick: Pick) -> bytes:
    bits, colours = pick(1, 2, 4, 8, 16, 255), pick(0, 2, 3, 4, 6, 7)
    return _png(pick(*_ODD_SIDES), pick(*_ODD_SIDES), _zeros(1000), bits, colours)


def _png_bomb(pick: Pick) -> bytes:
    side = pick(1_000, 1_000, 2_000, 2_000, 6_000)
    return _png(side, side, _zeros((1 + 3 * side) * side))


def _png_text_bomb(pick: Pick) -> bytes:
    kind, head = pick((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0"))
    png, chunk = _png(4, 4, _zeros(52)), _chunk(kind, head + _zeros(50_000_000))
    return png[:33] + chunk * pick(1, 3) + png[33:]


def _resized(jpeg: bytes, height: int, width: int) -> bytes:
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2")) + 5
    return jpeg[:at] + block(">HH", height, width) + jpeg[at + 4 :]


def _jpeg_that_lies(pick: Pick) -> bytes:
    jpeg = seed_images()[pick("jpeg", "jpeg progressive", "jpeg cmyk")]
    return _resized(jpeg, pick(0, 1, 9_000, 65_500), pick(0, 1, 9_000, 65_500))


def _jpeg_of_300_scans(pick: Pick) -> bytes:
    """The last scan of a large progressive image again and again: a second of work a kilobyte."""
    jpeg = _resized(seed_images()["jpeg progressive"], 2_000, 2_000)
    start = jpeg.rfind(b"\xff\xda")
    return jpeg[:start] + jpeg[start:-2] * 300 + b"\xff\xd9"


def _jpeg_of_odd_segments(pick: Pick) -> bytes:
    jpeg, marker = seed_images()["jpeg"], pick(0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xDB, 0xC4)
    start = pick(b"Exif\0\0", b"ICC_PROFILE\0\1\xff", b"MPF\0", b"Photoshop 3.0\0", b"")
    body = start + bytes(range(256)) * pick(0, 1, 4, 240)
    segment = block(">BBH", 0xFF, marker, pick(len(body) + 2, 0, 1, 65_535)) + body
    return jpeg[:2] + segment * pick(1, 10) + jpeg[2:]


def _tiff_that_lies(pick: Pick) -> bytes:
    """A directory of odd entries, the next one perhaps itself."""
    tags = (256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 322, 323, 339)
    data = block("<HHIH", 0x4949, 42, 8, len(tags))
    for tag in tags:
        kind, count = pick(1, 2, 3, 4, 5, 12, 13, 255), pick(1, 1, 1, 0, 4, 2**31, 2**32 - 1)
        value = pick(0, 1, 3, 8, 40, 9_000, 65_535, 2**31, 2**32 - 1)
        data += block("<HHII", tag, kind, count, value)
    return data + block("<I", pick(0, 8, 2**32 - 1)) + bytes(2_000)


def _gif_that_lies(pick: Pick) -> bytes:
    sides = [pick(0, 9, 9_000, 65_535) for _ in range(6)]
    screen = block("<HHBBB", *sides[:2], 0x80, 0, 0) + bytes(6)
    frame = block("<BHHHHB", 0x2C, *sides[2:], 0)
    return b"GIF89a" + screen + frame + b"\x08\xff" + bytes(255) + b"\0;"


def _webp_that_lies(pick: Pick) -> bytes:
    sides = b"".join(block("<I", pick(0, 1, 16_383, 2**24 - 1))[:3] for _ in range(2))
    chunk = b"VP8X" + block("<II", 10, pick(0, 2, 16, 0x3E)) + sides
    body = b"WEBP" + chunk + seed_images()["webp"][12:]
    return b"RIFF" + block("<I", pick(len(body), 0, 2**32 - 1)) + body


def _ppm_that_lies(pick: Pick) -> bytes:
    numbers = pick(*range(1, 8)), pick(*_ODD_SIDES), pick(*_ODD_SIDES)
    return b"P%d\n%d %d\n%d\n" % (*numbers, pick(0, 1, 255, 65_535, 10**30)) + b"1 2 " * 50


def _bmp_that_lies(pick: Pick) -> bytes:
    bmp = bytearray(seed_images()["bmp"])
    struct.pack_into("<ii", bmp, 18, *(pick(0, 9, -30, 9_000, -(2**31)) for _ in range(2)))
    struct.pack_into("<HI", bmp, 28, pick(1, 4, 8, 16, 24, 32, 99), pick(0, 1, 2, 3))
    return bytes(bmp)


HOSTILE: dict[str, Callable[[Pick], bytes]] = {
    "png that lies": _png_that_lies,
    "png bomb": _png_bomb,
    "png of a long stream": lambda pick: _png(4, 4, _zeros(20_000_000)),
    "png text bomb": _png_text_bomb,
    "jpeg that lies": _jpeg_that_lies,
    "jpeg of 300 scans": _jpeg_of_300_scans,
    "jpeg of odd segments": _jpeg_of_odd_segments,
    "tiff that lies": _tiff_that_lies,
    "gif that lies": _gif_that_lies,
    "webp that lies": _webp_that_lies,
    "ppm that lies": _ppm_that_lies,
    "bmp that lies": _bmp_that_lies,
}
