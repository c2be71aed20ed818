"""Small images of every format that is read, and images that are bombs or lie about themselves.

`fuzz_kinds.py` damages the first by chance and takes the second as they are.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_ODD_SIDES = (0, 1, 40, 9_000, 9_999, 10_001, 65_535, 2**31 - 1, 2**32 - 1)


@cache
def seed_images() -> dict[str, bytes]:
    """One image a format and mode, some 30 pixels a side."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    image = coarse.resize((40, 30), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(rng.integers(0, 65_536, (30, 40), dtype=np.uint16))
    frames = [image, image.rotate(90, expand=True), image.convert("L")]
    return {
        "jpeg": _encode(image, "JPEG"),
        "jpeg progressive": _encode(image, "JPEG", progressive=True),
        "jpeg gray": _encode(image.convert("L"), "JPEG"),
        "jpeg cmyk": _encode(image.convert("CMYK"), "JPEG"),
        "jpeg turned": _encode(image, "JPEG", exif=exif, comment=b"a comment"),
        "jpeg restarts": _encode(image, "JPEG", restart_marker_blocks=1),
        "png": _encode(image, "PNG"),
        "png palette": _encode(image.quantize(16), "PNG", transparency=3),
        "png alpha": _encode(image.convert("RGBA"), "PNG"),
        "png 16 bit": _encode(deep, "PNG"),
        "gif": _encode(image, "GIF"),
        "gif animated": _encode(image, "GIF", save_all=True, append_images=frames),
        "webp": _encode(image, "WEBP"),
        "webp lossless": _encode(image.convert("RGBA"), "WEBP", lossless=True, exif=exif),
        "tiff": _encode(image, "TIFF", exif=exif),
        "tiff deflate": _encode(image, "TIFF", compression="tiff_deflate"),
        "tiff jpeg": _encode(image, "TIFF", compression="jpeg"),
        "tiff float": _encode(Image.fromarray(rng.random((9, 7), np.float32)), "TIFF"),
        "bmp": _encode(image, "BMP"),
        "ppm": _encode(image, "PPM"),
    }


def hostile_image(rng: random.Random) -> tuple[str, bytes]:
    """An image made to hurt, and what it is."""
    name = rng.choice(list(HOSTILE))
    return name, HOSTILE[name](rng)


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_of(width: int, height: int, pixels: bytes, bits: int = 8, colours: int = 2) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", head) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _png_lies(rng: random.Random) -> bytes:
    sides = rng.choice(_ODD_SIDES), rng.choice(_ODD_SIDES)
    bits, colours = rng.choice((1, 2, 4, 8, 16, 255)), rng.choice((0, 2, 3, 4, 6, 7))
    return _png_of(*sides, zlib.compress(bytes(1000)), bits, colours)


def _png_bomb(rng: random.Random) -> bytes:
    """Nothing but zeros: a thousandth of the memory its pixels take."""
    return _packed_square(rng.choice((1_000, 1_000, 2_000, 2_000, 6_000)))


@cache
def _packed_square(side: int) -> bytes:
    return _png_of(side, side, zlib.compress(bytes((1 + 3 * side) * side), 9))


def _png_long_stream(rng: random.Random) -> bytes:
    """Far more pixels behind the header than it says."""
    return _png_of(4, 4, _packed_zeros(20_000_000))


@cache
def _packed_zeros(count: int) -> bytes:
    return zlib.compress(bytes(count), 9)


def _png_text_bomb(rng: random.Random) -> bytes:
    packed = _packed_zeros(50_000_000)
    kind = rng.choice((b"zTXt", b"iTXt", b"iCCP"))
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind]
    png = _png_of(4, 4, zlib.compress(bytes(52)))
    chunk = _chunk(kind, head + packed)
    return png[:33] + chunk * rng.choice((1, 3)) + png[33:]


def _jpeg_lies(rng: random.Random) -> bytes:
    jpeg = seed_images()[rng.choice(("jpeg", "jpeg progressive", "jpeg cmyk"))]
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2")) + 5
    sides = (rng.choice((0, 1, 9_000, 65_500)) for _ in range(2))
    return jpeg[:at] + struct.pack(">HH", *sides) + jpeg[at + 4 :]


def _jpeg_scans(rng: random.Random) -> bytes:
    """The last scan of a large progressive image again and again: a second of work a kilobyte."""
    jpeg = seed_images()["jpeg progressive"]
    at = jpeg.find(b"\xff\xc2") + 5
    jpeg = jpeg[:at] + struct.pack(">HH", 2_000, 2_000) + jpeg[at + 4 :]
    start = jpeg.rfind(b"\xff\xda")
    return jpeg[:start] + jpeg[start:-2] * 300 + b"\xff\xd9"


def _jpeg_segments(rng: random.Random) -> bytes:
    jpeg = seed_images()["jpeg"]
    marker = rng.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xDB, 0xC4))
    start = rng.choice((b"Exif\0\0", b"ICC_PROFILE\0\1\xff", b"MPF\0", b"Photoshop 3.0\0", b""))
    body = start + rng.randbytes(rng.choice((0, 10, 1_000, 60_000)))
    segment = struct.pack(">BBH", 0xFF, marker, rng.choice((len(body) + 2, 0, 1, 65_535))) + body
    return jpeg[:2] + segment * rng.choice((1, 10)) + jpeg[2:]


def _tiff_lies(rng: random.Random) -> bytes:
    """A directory of odd entries, the next one perhaps itself."""
    entries = []
    for tag in (256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 322, 323, 339):
        kind = rng.choice((1, 2, 3, 4, 5, 12, 13, 255))
        count = rng.choice((1, 1, 1, 0, 4, 2**31, 2**32 - 1))
        value = rng.choice((0, 1, 3, 8, 40, 9_000, 65_535, 2**31, 2**32 - 1))
        entries.append(struct.pack("<HHII", tag, kind, count, value))
    next_one = rng.choice((0, 8, 2**32 - 1))
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries))
    return head + b"".join(entries) + struct.pack("<I", next_one) + bytes(2_000)


def _gif_lies(rng: random.Random) -> bytes:
    screen = struct.pack(
        "<HHBBB", *(rng.choice((0, 9, 9_000, 65_535)) for _ in range(2)), 0x80, 0, 0
    )
    frame = struct.pack("<BHHHHB", 0x2C, *(rng.choice((0, 9, 9_000, 65_535)) for _ in range(4)), 0)
    return b"GIF89a" + screen + bytes(6) + frame + b"\x08" + b"\xff" + bytes(255) + b"\0;"


def _webp_lies(rng: random.Random) -> bytes:
    width, height = (rng.choice((0, 1, 16_383, 2**24 - 1)) for _ in range(2))
    size = struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3]
    chunk = b"VP8X" + struct.pack("<II", 10, rng.choice((0, 2, 16, 0x3E))) + size
    webp = seed_images()["webp"]
    body = b"WEBP" + chunk + webp[12:]
    return b"RIFF" + struct.pack("<I", rng.choice((len(body), 0, 2**32 - 1))) + body


def _ppm_lies(rng: random.Random) -> bytes:
    numbers = [rng.choice(_ODD_SIDES) for _ in range(2)]
    kind, top = rng.choice((1, 2, 3, 4, 5, 6, 7)), rng.choice((0, 1, 255, 65_535, 10**30))
    return b"P%d\n%d %d\n%d\n" % (kind, *numbers, top) + b"1 2 " * 50


def _bmp_lies(rng: random.Random) -> bytes:
    bmp = bytearray(seed_images()["bmp"])
    struct.pack_into("<ii", bmp, 18, *(rng.choice((0, 9, -30, 9_000, -(2**31))) for _ in range(2)))
    struct.pack_into(
        "<HI", bmp, 28, rng.choice((1, 4, 8, 16, 24, 32, 99)), rng.choice((0, 1, 2, 3))
    )
    return bytes(bmp)


HOSTILE: dict[str, Callable[[random.Random], bytes]] = {
    "png that lies": _png_lies,
    "png bomb": _png_bomb,
    "png of a long stream": _png_long_stream,
    "png text bomb": _png_text_bomb,
    "jpeg that lies": _jpeg_lies,
    "jpeg of 300 scans": _jpeg_scans,
    "jpeg of odd segments": _jpeg_segments,
    "tiff that lies": _tiff_lies,
    "gif that lies": _gif_lies,
    "webp that lies": _webp_lies,
    "ppm that lies": _ppm_lies,
    "bmp that lies": _bmp_lies,
}
