"""MNIST-style idx files: both splits, both spellings, and every way to be damaged."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL
from shards.sources.idx import IdxSource

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 4, 5), dtype=np.uint8)
LABELS = np.array([3, 0, 1, 2, 3, 1, 0], dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    shape = np.array(array.shape, dtype=">u4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + shape + array.tobytes()


def write(path: Path, array: np.ndarray) -> Path:
    data = idx_bytes(array)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    write(tmp_path / "train-labels-idx1-ubyte", LABELS)
    write(tmp_path / "t10k-images-idx3-ubyte", IMAGES[:2])
    write(tmp_path / "t10k-labels-idx1-ubyte.gz", LABELS[:2])
    return tmp_path


def test_images_and_labels_are_read(folder: Path) -> None:
    """Gzipped or plain; classes are the numbers up to the largest label."""
    source = IdxSource(folder)
    assert source.classes == ("0", "1", "2", "3")
    assert [source[i].label for i in range(len(source))] == LABELS.tolist()
    for number, image in enumerate(IMAGES):
        np.testing.assert_array_equal(source[number].load(), image)


def test_the_split_is_train_unless_asked(folder: Path) -> None:
    """And the path of one images file says it all."""
    assert len(IdxSource(folder)) == len(IdxSource(folder, "train")) == 7
    assert len(IdxSource(folder, "test")) == 2
    assert len(IdxSource(folder / "t10k-images-idx3-ubyte")) == 2
    with pytest.raises(UsageError, match="'val'"):
        IdxSource(folder, "val")


def test_without_labels_there_are_none(tmp_path: Path) -> None:
    """The labels file may be missing, and it is said."""
    source = IdxSource(write(tmp_path / "train-images.idx3-ubyte", IMAGES))
    assert source.classes == ()
    assert source[0].label == NO_LABEL
    assert "no labels" in source.notes[0]


def test_two_sets_in_a_folder_are_a_question(folder: Path) -> None:
    """EMNIST has many: the user names the file."""
    write(folder / "emnist-train-images-idx3-ubyte", IMAGES)
    with pytest.raises(UsageError, match=r"2 in .*give the path"):
        IdxSource(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_bytes(IMAGES)[:-1], "holds 140 bytes, got 139"),
        (idx_bytes(IMAGES) + b"x", "got 141"),
        (idx_bytes(LABELS), "got 0 0 8 1"),
        (b"", "got nothing"),
        (gzip.compress(idx_bytes(IMAGES))[:-9], "must be whole"),
        (idx_bytes(IMAGES[:0]), "got none"),
    ],
)
def test_damaged_files_are_named(folder: Path, content: bytes, message: str) -> None:
    """Cut off, too long, of another kind, empty, torn gzip."""
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        IdxSource(path)


def test_labels_are_as_many_as_images(folder: Path) -> None:
    """Otherwise every label might be of another image."""
    write(folder / "train-labels-idx1-ubyte", LABELS[:-1])
    with pytest.raises(DataError, match="6 labels"):
        IdxSource(folder)


def test_the_fingerprint_follows_the_content(folder: Path) -> None:
    """Compression does not count, a changed pixel or label does."""
    path = folder / "train-images-idx3-ubyte"
    first = IdxSource(folder).fingerprint
    assert IdxSource(write(path, IMAGES)).fingerprint == first
    assert IdxSource(write(path, IMAGES ^ 1)).fingerprint != first
    write(folder / "train-labels-idx1-ubyte", LABELS[::-1])
    assert IdxSource(write(path, IMAGES)).fingerprint != first
