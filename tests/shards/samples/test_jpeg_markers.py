"""A JPEG's picture ends at its end marker, whatever lies behind it or inside its segments."""

import io
from typing import Any

import numpy as np
import pytest
from pictures import jpeg_of
from PIL import Image

from shards.samples.image_header import ImageError, open_image
from shards.samples.jpeg_markers import has_many_scans, picture_end

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8))
VIDEO = np.random.default_rng(1).bytes(12 << 20)


def jpeg(**options: Any) -> bytes:
    buffer = io.BytesIO()
    NOISE.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"restart_marker_rows": 1},
        {"quality": 100, "subsampling": 0},
        {"exif": b"Exif\0\0" + jpeg_of(1)},  # a thumbnail has an end of its own
        {"comment": b"\xff\xd9\xff\xda"},
    ],
)
def test_the_end_is_found(options: dict[str, Any]) -> None:
    """Behind every kind of scan and segment, with and without something behind it."""
    data = jpeg(**options)
    for tail in (b"", bytes(500), jpeg_of(2), VIDEO[:100_000]):
        assert picture_end(data + tail) == len(data)


def test_without_an_end_there_is_none() -> None:
    """A torn file, and bytes that are no JPEG."""
    assert picture_end(jpeg()[:-2]) is None
    assert picture_end(b"") is None


def test_a_video_behind_the_picture_has_no_scans() -> None:
    """A phone's motion photo of 12 MB is opened; a hundred scans in the picture are refused."""
    data = jpeg(progressive=True)
    assert (data + VIDEO).count(b"\xff\xda") > 100
    assert open_image(data + VIDEO).size == (70, 90)
    start = data.rfind(b"\xff\xda")
    bomb = data[:start] + data[start:-2] * 100 + data[-2:]
    for tail in (b"", VIDEO):
        assert has_many_scans(bomb + tail)
        with pytest.raises(ImageError, match="over 100 scans"):
            open_image(bomb + tail)
