"""A set of shards as a folder of image files, class by class: what lightly's dataset reads.

The bytes are the shards' own, so both sides decode the same images.
"""

import shutil
from pathlib import Path

import numpy as np

from shards.errors import DataError
from shards.index import ShardIndex
from shards.reader import SampleError, ShardReader

DONE = "complete"  # a file of this name says that all are there
_READ_AT_ONCE = 256
_SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png"}  # by the first two bytes


def unpack(shards: str, out: Path) -> Path:
    """Write every image of the set, once; the folder with one folder a class.

    Raises:
        DataError: an image cannot be read, or is neither JPEG nor PNG.
    """
    images = out / "images"
    if (out / DONE).is_file():
        return images
    shutil.rmtree(out, ignore_errors=True)
    index = ShardIndex.open(shards)
    ids = np.arange(len(index))
    for label in np.unique(index.labels(ids)):
        (images / f"{label:04d}").mkdir(parents=True)
    with ShardReader(index) as reader:
        for some in np.array_split(ids, -(-len(ids) // _READ_AT_ONCE)):
            for id_, label, found in zip(some, index.labels(some), reader.read(some), strict=True):
                data = _readable(found, shards)
                (images / f"{label:04d}" / f"{id_:08d}{_suffix(data, shards)}").write_bytes(data)
    (out / DONE).touch()
    return images


def _readable(found: bytes | SampleError, shards: str) -> bytes:
    if isinstance(found, SampleError):
        raise DataError(f"every image of {shards} is readable, got {found.key}: {found.reason}")
    return found


def _suffix(data: bytes, shards: str) -> str:
    suffix = _SUFFIXES.get(data[:2])
    if suffix is None:
        raise DataError(f"images for the peer are JPEG or PNG, got others in {shards}")
    return suffix
