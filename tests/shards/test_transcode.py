"""What is stored means the same to every decoder: upright 8-bit RGB, or the JPEG as it was."""

import io
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shards.image import ImageError
from shards.packing.transcode import transcode

ROWS, COLUMNS = np.mgrid[0:24, 0:40]
RGB = np.stack([ROWS * 10, COLUMNS * 6, 255 - ROWS * 10], axis=-1).astype(np.uint8)
GRAY = (ROWS * 10).astype(np.uint8)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def stored_pixels(payload: Any, **options: Any) -> np.ndarray:
    """What the stored bytes decode to; they must be a plain RGB PNG."""
    stored = transcode(payload, **options)
    image = Image.open(io.BytesIO(stored.data))
    assert (stored.extension, image.format, image.mode) == ("png", "PNG", "RGB")
    assert not image.info
    assert image.size == (stored.width, stored.height)
    assert stored.crc32 == zlib.crc32(stored.data)
    return np.asarray(image)


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_keeps_its_bytes(mode: str) -> None:
    """Colour and gray JPEGs are stored as they are."""
    data = encoded(Image.fromarray(RGB).convert(mode), "JPEG")
    stored = transcode(data)
    assert (stored.extension, stored.data) == ("jpg", data)
    assert (stored.height, stored.width) == (24, 40)


@pytest.mark.parametrize(("number", "size"), [(1, (24, 40)), (3, (24, 40)), (6, (40, 24))])
def test_a_rotated_jpeg_keeps_its_bytes_and_is_measured_upright(
    number: int, size: tuple[int, int]
) -> None:
    """Decoders apply EXIF orientation, so the size is that of the upright image."""
    data = encoded(Image.fromarray(RGB), "JPEG", exif=orientation(number))
    stored = transcode(data)
    assert stored.data == data
    assert (stored.height, stored.width) == size


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    """Decoders disagree on CMYK JPEGs, so they are not kept."""
    image = Image.fromarray(RGB).convert("CMYK")
    pixels = stored_pixels(encoded(image, "JPEG", quality=100, subsampling=0))
    assert np.abs(pixels.astype(int) - RGB).max() <= 6


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_other_formats_become_png_without_loss(file_format: str) -> None:
    """Lossless files keep every pixel."""
    options = {"lossless": True} if file_format == "WEBP" else {}
    pixels = stored_pixels(encoded(Image.fromarray(RGB), file_format, **options))
    np.testing.assert_array_equal(pixels, RGB)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA"])
def test_other_modes_become_what_pillow_makes_of_them(mode: str) -> None:
    """Gray, bilevel, palette, CMYK, gray with alpha."""
    image = Image.fromarray(RGB).convert(mode)
    pixels = stored_pixels(encoded(image, "TIFF" if mode == "CMYK" else "PNG"))
    np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled(file_format: str) -> None:
    """A 16-bit value v becomes round(v / 257), not its high or low byte, and never saturates."""
    deep = np.linspace(0, 65535, GRAY.size).round().astype(np.uint16).reshape(GRAY.shape)
    pixels = stored_pixels(encoded(Image.fromarray(deep), file_format))
    expected = np.rint(deep / 257.0).astype(np.uint8)
    np.testing.assert_array_equal(pixels, np.repeat(expected[..., None], 3, axis=-1))


def test_transparency_lies_over_white() -> None:
    """Alpha 0 is white, alpha 255 the colour, alpha 128 half of each; palettes have alpha too."""
    rgba = np.dstack([RGB, np.full_like(GRAY, 255)])
    rgba[0, :, 3], rgba[1, :, 3] = 0, 128
    pixels = stored_pixels(encoded(Image.fromarray(rgba), "PNG"))
    assert (pixels[0] == 255).all()
    assert np.abs(pixels[1] - (RGB[1] * (128 / 255) + 255 * (127 / 255))).max() <= 1
    np.testing.assert_array_equal(pixels[2:], RGB[2:])
    palette = Image.fromarray(GRAY).convert("P")
    first = int(np.asarray(palette)[0, 0])
    pixels = stored_pixels(encoded(palette, "PNG", transparency=first))
    assert (pixels[0, 0] == 255).all()


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("number", "turns"), [(6, -1), (3, 2), (8, 1)])
def test_rotated_files_become_upright(file_format: str, number: int, turns: int) -> None:
    """EXIF orientation is applied once, also where Pillow applies it by itself."""
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(Image.fromarray(RGB), file_format, exif=orientation(number), **options)
    np.testing.assert_array_equal(stored_pixels(data), np.rot90(RGB, turns))


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_counts(file_format: str) -> None:
    """Later frames are dropped."""
    still, other = (Image.fromarray(np.full((9, 9, 3), v, np.uint8)) for v in (40, 200))
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(still, file_format, save_all=True, append_images=[other, other], **options)
    assert (stored_pixels(data) == 40).all()


def test_profiles_and_transparency_of_the_original_are_not_written_again() -> None:
    """What is stored is pixels: an old ICC profile or tRNS entry would change their meaning."""
    for options in ({"icc_profile": b"profile" * 9}, {"transparency": (1, 2, 3)}):
        data = encoded(Image.fromarray(RGB), "PNG", **options)
        np.testing.assert_array_equal(stored_pixels(data), RGB)


def test_a_png_called_jpg_is_a_png() -> None:
    """The content decides, never a name: the payload has none."""
    np.testing.assert_array_equal(stored_pixels(encoded(Image.fromarray(RGB), "PNG")), RGB)


@pytest.mark.parametrize("pixels", [RGB, GRAY, GRAY.astype(np.uint16) * 257])
def test_pixels_are_stored_without_loss(pixels: np.ndarray) -> None:
    """Arrays [H, W] and [H, W, 3], 8 and 16 bit."""
    expected = RGB if pixels.ndim == 3 else np.repeat(GRAY[..., None], 3, axis=-1)
    np.testing.assert_array_equal(stored_pixels(pixels), expected)


def test_resize_only_shrinks() -> None:
    """The short side gets the length asked for, the long one follows; smaller images stay."""
    assert stored_pixels(RGB, short_side_px=12).shape == (12, 20, 3)
    assert stored_pixels(np.rot90(RGB), short_side_px=7).shape == (12, 7, 3)
    np.testing.assert_array_equal(stored_pixels(RGB, short_side_px=24), RGB)
    np.testing.assert_array_equal(stored_pixels(RGB, short_side_px=100), RGB)


def test_a_resized_jpeg_is_a_jpeg_upright_with_full_chroma() -> None:
    """Only a JPEG that shrinks is encoded anew, with EXIF applied and not repeated."""
    data = encoded(Image.fromarray(RGB), "JPEG", exif=orientation(6))
    stored = transcode(data, short_side_px=12)
    image = Image.open(io.BytesIO(stored.data))
    assert (stored.extension, stored.height, stored.width) == ("jpg", 20, 12)
    assert image.size == (12, 20)
    assert "exif" not in image.info
    assert [component[1:3] for component in image.layer] == [(1, 1)] * 3
    assert transcode(data, short_side_px=24).data == data


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (encoded(Image.fromarray(RGB), "JPEG", quality=95)[:-100], "truncated"),
        (encoded(Image.fromarray(RGB), "PNG")[:-40], "decoded"),
        (encoded(Image.fromarray(GRAY.astype(np.float32)), "TIFF"), "32-bit"),
        (np.zeros((4, 4, 2), np.uint8), r"\[4, 4, 2\]"),
        (np.zeros((0, 4), np.uint8), r"\[0, 4\]"),
        (np.zeros((4, 4), np.float32), "float32"),
    ],
)
def test_bad_images_say_why(payload: Any, reason: str) -> None:
    """Every way to be no image ends in an ImageError with a reason."""
    with pytest.raises(ImageError, match=reason):
        transcode(payload)


def test_an_image_over_the_limit_is_refused_before_it_is_decoded() -> None:
    """100 megapixels of one colour fit in few bytes; their pixels are never allocated."""
    bomb = encoded(Image.new("1", (10_001, 10_000)), "PNG")
    with pytest.raises(ImageError, match="100,000,000"):
        transcode(bomb)
