"""Images of over 8 bits a value: every bit counts, the range is the format's or the user's."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from augengine.decoders.pillow_decoder import decode_one
from shards.errors import UsageError
from shards.packing.conversions import Conversion
from shards.packing.deep import parse_range
from shards.packing.transcode import ImageOptions, transcode
from shards.samples.image_header import ImageError
from shards.samples.oddities import CLIPPED, DEEP

tifffile = pytest.importorskip("tifffile")

GRAY = np.random.default_rng(0).integers(0, 4096, (30, 40)).astype(np.uint16)
GRAY[0, :2] = 0, 4095
RGB = np.random.default_rng(1).integers(0, 4096, (30, 40, 3)).astype(np.uint16)
RGB[0, :2, 0] = 0, 4095
TWELVE_BITS = (0.0, 4095.0)


def png(values: np.ndarray, colour: int, chunks: bytes = b"") -> bytes:
    """A 16-bit PNG, which Pillow cannot write in colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunks + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def tiff(values: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def ppm(values: np.ndarray, maximum: int) -> bytes:
    kind = "P6" if values.ndim == 3 else "P5"
    return f"{kind} 40 30 {maximum}\n".encode() + values.astype(">u2").tobytes()


FILES = {
    "gray png": png(GRAY, 0),
    "colour png": png(RGB, 2),
    "gray tiff": tiff(GRAY),
    "gray ppm": ppm(GRAY, 65_535),
    "colour ppm": ppm(RGB, 65_535),
    "ppm of 12 bits": ppm(GRAY, 4095),
    "colour ppm of 12 bits": ppm(RGB, 4095),
}
FILES |= {
    f"colour tiff {order} {compression}": tiff(
        RGB, photometric="rgb", byteorder=order, compression=compression
    )
    for order in "<>"
    for compression in (None, "zlib")
}
UNDEFINED = {
    f"{dtype} {order} {compression}": tiff(
        GRAY.astype(dtype), byteorder=order, compression=compression
    )
    for dtype in ("float32", "int32", "int16")
    for order in "<>"
    for compression in (None, "zlib")
}


def pixels_of(data: bytes, **options: Any) -> np.ndarray:
    stored = transcode(data, ImageOptions(**options))
    return np.asarray(Image.open(io.BytesIO(stored.data)))


@pytest.mark.parametrize("name", [*FILES, *UNDEFINED])
def test_a_range_that_is_given_is_used_exactly(name: str) -> None:
    """0 becomes 0, 4095 becomes 255, and everything between is rounded once."""
    data = FILES.get(name) or UNDEFINED[name]
    values = RGB if "colour" in name else GRAY[..., None]
    expected = np.rint(values / 4095 * 255) * np.ones(3)
    np.testing.assert_array_equal(pixels_of(data, value_range=TWELVE_BITS), expected)


@pytest.mark.parametrize("name", FILES)
def test_without_a_range_it_is_the_formats_and_the_values_are_told(name: str) -> None:
    """16 bits go to 65,535, a PPM to the greatest value it names."""
    white = 4095 if "of 12 bits" in name else 65_535
    stored = transcode(FILES[name])
    values = RGB if "colour" in name else GRAY[..., None]
    pixels = np.asarray(Image.open(io.BytesIO(stored.data)))
    np.testing.assert_array_equal(pixels, np.rint(values / white * 255) * np.ones(3))
    (conversion,) = stored.conversions
    assert conversion == Conversion(DEEP, 0, 4095, white)


@pytest.mark.parametrize("name", UNDEFINED)
def test_values_of_no_defined_range_are_refused_with_the_values(name: str) -> None:
    """And with the option that gives a range."""
    with pytest.raises(ImageError, match=r"32-bit.*go from 0 to 4,095.*--value-range LOW:HIGH"):
        transcode(UNDEFINED[name])


def test_a_packed_tiff_of_twelve_bits_has_their_range() -> None:
    """Its header says how many bits a value has."""
    flat = GRAY.reshape(-1, 2).astype(np.uint32)
    both = flat[:, 0] << 12 | flat[:, 1]
    packed = np.stack([both >> 16, both >> 8, both], axis=-1).astype(np.uint8).tobytes()
    entries = [(256, 40), (257, 30), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1)]
    entries += [(278, 30), (279, len(packed))]
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries))
    at = 8 + len(packed)
    data = b"II*\0" + struct.pack("<I", at) + packed + struct.pack("<H", len(entries)) + tags
    expected = np.rint(GRAY / 4095 * 255)[..., None] * np.ones(3)
    np.testing.assert_array_equal(pixels_of(data + bytes(4)), expected)
    decoded = decode_one(data + bytes(4))
    np.testing.assert_array_equal(decoded, expected)


def test_values_beyond_a_range_are_clipped_and_told() -> None:
    """Also what is no number, in a file of fractions."""
    values = np.array([[-1.0, 0.0, 0.5], [1.0, 2.0, np.nan]], np.float32)
    stored = transcode(tiff(values), ImageOptions(value_range=(0, 1)))
    pixels = np.asarray(Image.open(io.BytesIO(stored.data)))[..., 0]
    np.testing.assert_array_equal(pixels, [[0, 0, 128], [255, 255, 0]])
    assert [c.what for c in stored.conversions] == [DEEP, CLIPPED]
    assert (stored.conversions[1].low, stored.conversions[1].high) == (-1, 2)


def test_alpha_has_a_range_of_its_own() -> None:
    """Transparency lies over white, whatever the values of colours."""
    alpha = np.full((30, 40, 1), 65_535, np.uint16)
    alpha[5] = 0
    for values, colour in ((np.dstack([RGB, alpha]), 6), (np.dstack([GRAY, alpha]), 4)):
        pixels = pixels_of(png(values, colour), value_range=TWELVE_BITS)
        assert (pixels[5] == 255).all()
        expected = np.rint(values[..., :-1] / 4095 * 255) * np.ones(3)
        np.testing.assert_array_equal(pixels[6:], expected[6:])
    key = struct.pack(">HHH", *RGB[3, 4].tolist())
    chunk = struct.pack(">I4s", 6, b"tRNS") + key + struct.pack(">I", zlib.crc32(b"tRNS" + key))
    pixels = pixels_of(png(RGB, 2, chunk), value_range=TWELVE_BITS)
    assert (pixels[3, 4] == 255).all()


def test_a_turned_image_of_16_bits_is_upright() -> None:
    """Orientation survives the way to 8 bits."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(GRAY).save(buffer, kind, exif=exif)
        pixels = pixels_of(buffer.getvalue(), value_range=TWELVE_BITS)
        np.testing.assert_array_equal(pixels[..., 0], np.rot90(np.rint(GRAY / 4095 * 255), -1))


@pytest.mark.parametrize("name", FILES)
def test_tars_in_place_are_decoded_as_packing_stores(name: str) -> None:
    """Also colour, of which Pillow alone would keep the high bytes."""
    np.testing.assert_array_equal(decode_one(FILES[name]), pixels_of(FILES[name]))


@pytest.mark.parametrize("text", ["", "5", "5:", "a:b", "9:3", "0:0", "0:inf", "nan:1", "1:2:3"])
def test_a_range_is_two_numbers(text: str) -> None:
    """Black before white; anything else is refused in a line."""
    with pytest.raises(UsageError, match="LOW:HIGH"):
        parse_range(text)
    assert parse_range("-1024:3071.5") == (-1024, 3071.5)
