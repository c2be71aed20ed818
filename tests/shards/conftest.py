"""Tars with any content, and images of any kind to put into them."""

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from afar import seal
from PIL import Image

ORIENTATION = 0x0112


def _encode(height: int, width: int, kind: str = "JPEG", orientation: int = 1) -> bytes:
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows, columns, rows + columns], axis=-1).astype(np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"exif": exif} if orientation != 1 else {}
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """encode(height, width, kind="JPEG", orientation=1): an encoded image of stored pixels."""
    return _encode


@pytest.fixture
def make_tar() -> Callable[..., Path]:
    """make_tar(path, [(name, data), ...], format=USTAR): writes exactly these members."""

    def make(
        path: Path,
        members: Sequence[tuple[str, bytes]],
        format: int = tarfile.USTAR_FORMAT,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w", format=format) as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    return make


@pytest.fixture
def folder(new_shards: Callable[..., Path]) -> Path:
    """Three indexed shards with hashes, as one that was packed has."""
    return seal(new_shards())
