"""The size an image will have is known from its header, and what is no image is named."""

import struct
import warnings
import zlib

import pytest
from PIL import Image

from shards.samples.image_header import ImageError, check_size, load, open_image, upright_size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(encode, kind: str, orientation: int) -> None:
    """Orientations 5 to 8 swap height and width, in every format that stores one."""
    size = upright_size(open_image(encode(20, 30, kind, orientation)))
    assert size == ((30, 20) if orientation >= 5 else (20, 30))


@pytest.mark.parametrize("kind", ["BMP", "GIF", "PPM"])
def test_formats_without_orientation(encode, kind: str) -> None:
    """The other formats are measured as they are."""
    assert upright_size(open_image(encode(20, 30, kind))) == (20, 30)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_001, 10_000), (60_000, 60_000), (66_000, 10)])
def test_a_size_bomb_is_refused_without_a_warning(size: tuple[int, int]) -> None:
    """Over 100 megapixels, or a side over 65,535: our error, and nothing of Pillow's."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(ImageError, match=r"over 100,000,000 pixels|over 65,535 pixels"):
            open_image(png_header(*size))
    assert not seen


def test_the_largest_images_are_accepted() -> None:
    """The limit itself is allowed, although Pillow would warn of it."""
    assert upright_size(open_image(png_header(10_000, 10_000))) == (10_000, 10_000)
    check_size((65_535, 1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not an image", "not an image"),
        (b"\xff\xd8\xff", "not an image|cannot be parsed"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    """Empty, foreign and program-starting formats raise the reason."""
    with pytest.raises(ImageError, match=reason):
        open_image(data)


def test_torn_pixels_are_found_by_loading(encode) -> None:
    """A header is fine without its pixels; `load` is not."""
    encoded = encode(64, 64, "PNG")
    image = open_image(encoded[: len(encoded) // 2])
    assert upright_size(image) == (64, 64)
    with pytest.raises(ImageError, match="pixels cannot be decoded"):
        load(image)


def test_damaged_exif_turns_nothing(encode) -> None:
    """An image with broken metadata is still an image."""
    image = open_image(encode(20, 30))
    image.info["exif"] = b"Exif\0\0garbage"
    assert upright_size(image) == (20, 30)
    assert isinstance(image, Image.Image)
