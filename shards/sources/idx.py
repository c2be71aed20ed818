"""MNIST-style idx files, plain or gzipped: MNIST, Fashion-MNIST, KMNIST, EMNIST.

    train-images-idx3-ubyte.gz  train-labels-idx1-ubyte.gz   split train
    t10k-images-idx3-ubyte.gz   t10k-labels-idx1-ubyte.gz    split test

The format: two zero bytes, a type (8: bytes), the number of dimensions, each dimension as a
big-endian 32-bit number, then the data (http://yann.lecun.com/exdb/mnist). Images are gray, labels
are numbers.
"""

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL
from shards.sources.raw import RawSample, fingerprint_of
from shards.terminal.counted import counted

_IMAGES_NAME = re.compile(r"(?P<split>.*)-images[-.]idx3-ubyte(\.gz)?")
_TEST_WORDS = ("t10k", "test")
_BYTES = 8


class IdxSource:
    """The images of one idx file and, where they lie beside it, their labels."""

    kind = "idx"
    names = None
    stores_names = False
    block_sizes = None

    def __init__(self, path: Path, split: str | None = None) -> None:
        images_path = path if path.is_file() else _choose(path, split)
        if path.is_file() and split is not None:
            raise UsageError(f"--split picks from a folder, got {split!r} with the file {path}")
        self._name = images_path.name
        self._images = read_idx(images_path, num_dimensions=3)
        labels_path = _find_labels(images_path)
        labels = None if labels_path is None else read_idx(labels_path, num_dimensions=1)
        if not len(self._images):
            raise DataError(f"an idx file to pack holds images, got none in {images_path}")
        if labels is None:
            self.classes: tuple[str, ...] = ()
            self.notes = (f"no labels beside {images_path}",)
        else:
            if len(labels) != len(self._images):
                raise DataError(
                    f"there is a label for each image, got {counted(len(labels), 'label')} in "
                    f"{labels_path} for {counted(len(self._images), 'image')}; fetch both files "
                    "again"
                )
            self.classes = tuple(str(i) for i in range(int(labels.max()) + 1))
            self.notes = (f"read {images_path.name}",)
        unlabelled = np.full(len(self._images), NO_LABEL, np.int32)
        self.labels = unlabelled if labels is None else labels.astype(np.int32)
        self.fingerprint = fingerprint_of(
            "none" if array is None else f"{array.shape} {zlib.crc32(array.data):08x}"
            for array in (self._images, labels)
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> RawSample:
        label = int(self.labels[number])
        return RawSample(f"{self._name} image {number}", label, self._images[number])


def find_idx_images(folder: Path) -> list[Path]:
    """The idx files with images directly in a folder."""
    found = (path for path in folder.iterdir() if _IMAGES_NAME.fullmatch(path.name))
    return sorted(path for path in found if path.is_file())


def is_idx_images(path: Path) -> bool:
    """Whether a file is called like one with images."""
    return _IMAGES_NAME.fullmatch(path.name) is not None


def read_idx(path: Path, num_dimensions: int) -> NDArray[np.uint8]:
    """The array in an idx file of bytes, gzipped or not.

    Raises:
        DataError: it cannot be read, is no idx file of that kind, or ends early.
    """
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"an idx file must be whole, got {path} ({error}); fetch it again"
        ) from None
    header_bytes = 4 + 4 * num_dimensions
    if content[:4] != bytes((0, 0, _BYTES, num_dimensions)) or len(content) < header_bytes:
        raise DataError(
            f"an idx file of bytes in {num_dimensions} dimensions starts with 0 0 {_BYTES} "
            f"{num_dimensions}, got {' '.join(map(str, content[:4])) or 'nothing'} in {path}; "
            f"fetch it again"
        )
    shape = tuple(np.frombuffer(content, ">u4", num_dimensions, offset=4).tolist())
    expected, found = int(np.prod(shape, dtype=object)), len(content) - header_bytes
    if expected != found:
        raise DataError(
            f"an idx file of shape {list(shape)} holds {expected:,} bytes, got {found:,} in "
            f"{path}; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)


def _choose(folder: Path, split: str | None) -> Path:
    """The images file of a split: train unless asked for test."""
    if split not in (None, "train", "test"):
        raise UsageError(f"idx files have the splits train and test, got {split!r}")
    found = find_idx_images(folder)
    wanted = [path for path in found if _is_test(path) == (split == "test")]
    if len(wanted) != 1:
        names = ", ".join(path.name for path in found)
        raise UsageError(
            f"a folder of idx files has one images file for {split or 'train'}, got "
            f"{len(wanted)} in {folder} ({names}); give the path of the one you mean"
        )
    return wanted[0]


def _is_test(path: Path) -> bool:
    return any(word in path.name for word in _TEST_WORDS)


def _find_labels(images_path: Path) -> Path | None:
    """The labels file of an images file; it may be gzipped when the other is not."""
    match = _IMAGES_NAME.fullmatch(images_path.name)
    if match is None:
        return None
    for separator in "-.":
        for ending in ("", ".gz"):
            path = images_path.with_name(f"{match['split']}-labels{separator}idx1-ubyte{ending}")
            if path.is_file():
                return path
    return None
