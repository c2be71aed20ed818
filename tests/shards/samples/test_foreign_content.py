"""Bytes that were taken for an image are told by what they are."""

import io

import pytest
from PIL import Image

from shards.samples.foreign_content import told_content
from shards.samples.image_header import ImageError, open_image


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC in place of an image: convert it to JPEG or PNG"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF in place of an image: convert it to JPEG or PNG"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "a video in place of an image: convert it to JPEG or PNG"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL in place of an image: convert it to JPEG or PNG"),
        (b"\xef\xbb\xbf\n<!DOCTYPE HTML><html>", "a web page in place of an image: download it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a pointer of Git LFS"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG in place of an image: convert it"),
        (b'{"error": "404"}', "JSON in place of an image: download it again"),
        (bytes(1000), "zeros only in place of an image: copy it again"),
        (b"no image", "not an image of a known format"),
    ],
)
def test_the_reason_says_what_it_is_and_what_to_do(content: bytes, said: str) -> None:
    """The formats that phones, pages and checkouts leave under the name of a photograph."""
    with pytest.raises(ImageError) as error:
        open_image(content)
    assert str(error.value).startswith(said)
    assert ";" not in str(error.value)  # reasons are listed with semicolons between them


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_what_is_read_here_is_nothing_else(kind: str) -> None:
    """No format that is read has such a start."""
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(buffer, kind)
    assert told_content(buffer.getvalue()) is None
