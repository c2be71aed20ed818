"""What is stored means the same to every decoder: upright 8-bit RGB, or the JPEG as it was."""

import io
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shards.packing.conversions import Conversion
from shards.packing.transcode import ImageOptions, transcode
from shards.samples.image_header import ImageError
from shards.samples.oddities import ALPHA, COLOUR, CUT, PAGES

ROWS, COLUMNS = np.mgrid[0:24, 0:40]
RGB = np.stack([ROWS * 10, COLUMNS * 6, 255 - ROWS * 10], axis=-1).astype(np.uint8)
GRAY = (ROWS * 10).astype(np.uint8)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def stored_pixels(payload: Any, **options: Any) -> np.ndarray:
    """What the stored bytes decode to; they must be a plain RGB PNG."""
    stored = transcode(payload, ImageOptions(**options))
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
    stored = transcode(data, ImageOptions(short_side_px=12))
    image = Image.open(io.BytesIO(stored.data))
    assert (stored.extension, stored.height, stored.width) == ("jpg", 20, 12)
    assert image.size == (12, 20)
    assert "exif" not in image.info
    assert [component[1:3] for component in image.layer] == [(1, 1)] * 3
    assert transcode(data, ImageOptions(short_side_px=24)).data == data


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


@pytest.mark.parametrize(
    ("width", "height", "options", "file_format"),
    [
        (12_000, 9_000, {"quality": 20}, "JPEG"),
        (9_000, 12_000, {"quality": 20, "exif": orientation(6)}, "JPEG"),
        (19_000, 10_000, {"quality": 20}, "JPEG"),  # Pillow alone refuses to open it
    ],
)
def test_a_large_jpeg_is_shrunk_without_its_full_size(
    width: int, height: int, options: dict[str, Any], file_format: str, monkeypatch
) -> None:
    """It is decoded at an eighth, and gets the size that its full size says, within a pixel."""
    data = encoded(Image.new("L", (width, height), 90), file_format, **options)
    loaded: list[int] = []
    monkeypatch.setattr(
        "shards.packing.transcode.load",
        lambda image: (image.load(), loaded.append(image.width * image.height)),
    )
    stored = transcode(data, ImageOptions(short_side_px=100))
    upright = (width, height) if "exif" not in options else (height, width)
    long = round(100 * max(upright) / min(upright))
    expected = (long, 100) if upright[0] > upright[1] else (100, long)
    assert (stored.width, stored.height) == expected
    assert max(loaded) <= width * height / 60
    assert abs(int(np.asarray(Image.open(io.BytesIO(stored.data))).mean()) - 90) <= 3


def test_a_large_image_without_a_size_is_refused_by_the_name_of_the_flag() -> None:
    """What is stored is never larger; shrinking is offered, and for a PNG its limit."""
    jpeg = encoded(Image.new("L", (10_001, 10_000)), "JPEG", quality=10)
    with pytest.raises(ImageError, match="--resize"):
        transcode(jpeg)
    png = encoded(Image.new("1", (10_001, 10_000)), "PNG")
    with pytest.raises(ImageError, match="--max-pixels 100010000"):
        transcode(png, ImageOptions(short_side_px=16))
    stored = transcode(png, ImageOptions(short_side_px=16, max_pixels=100_010_000))
    assert (stored.height, stored.width) == (16, 16)
    wide = encoded(Image.new("1", (70_000, 40)), "PNG")
    with pytest.raises(ImageError, match="over 65,535 pixels"):
        transcode(wide)
    assert transcode(wide, ImageOptions(short_side_px=20)).width == 35_000


@pytest.mark.parametrize("factor", [0, 1])
def test_a_progressive_jpeg_counts_at_its_full_size(factor: int) -> None:
    """Its decoder holds all of it, however small it comes out."""
    data = encoded(Image.new("L", (2_000, 1_500)), "JPEG", progressive=bool(factor))
    options = ImageOptions(short_side_px=50, max_pixels=1_000_000)
    if factor:
        with pytest.raises(ImageError, match="--max-pixels 3000000"):
            transcode(data, options)
    else:
        assert transcode(data, options).height == 50


def test_a_video_behind_a_jpeg_is_cut_off() -> None:
    """The picture's bytes stay as they were; padding of some bytes is no reason to touch a file."""
    data = encoded(Image.fromarray(RGB), "JPEG")
    video = np.random.default_rng(0).bytes(12 << 20)
    stored = transcode(data + video)
    assert stored.data == data
    assert stored.conversions == (Conversion(CUT),)
    padded = data + bytes(4_096)
    assert transcode(padded).data == padded


def test_what_an_image_loses_is_told() -> None:
    """Pages, transparency that is used, colours that are not RGB; nothing of what loses nothing."""
    still = Image.fromarray(RGB)
    rgba = np.dstack([RGB, np.full_like(GRAY, 255)])
    clear = rgba.copy()
    clear[3, 5, 3] = 254
    palette = Image.fromarray(GRAY).convert("P")
    for data, kinds in (
        (encoded(still, "TIFF", save_all=True, append_images=[still] * 6), {PAGES}),
        (encoded(still, "GIF", save_all=True, append_images=[still.rotate(180)]), {PAGES}),
        (encoded(Image.fromarray(rgba), "PNG"), set()),
        (encoded(Image.fromarray(clear), "PNG"), {ALPHA}),
        (encoded(palette, "PNG", transparency=int(np.asarray(palette)[0, 0])), {ALPHA}),
        (encoded(still.convert("CMYK"), "TIFF"), {COLOUR}),
        (encoded(still.convert("CMYK"), "JPEG"), {COLOUR}),
        (encoded(still.convert("1"), "PNG"), set()),
        (encoded(palette, "PNG"), set()),
        (encoded(still, "JPEG"), set()),
    ):
        assert {conversion.what for conversion in transcode(data).conversions} == kinds
