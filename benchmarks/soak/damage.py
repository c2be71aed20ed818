"""Small sets of images, and the ways in which a set breaks under a run that reads it.

`corruption.py` runs loaders and trainers on them. Each damage returns the ids of the samples that
are bad after it: exactly those must be named.
"""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from shards.index import ShardIndex

SHARE = 0.1
CORRUPT = "10 % of the images are corrupt"
NUM_SHARDS = 10


def write_set(folder: Path, num_images: int) -> ShardIndex:
    """Labelled JPEGs of 32 to 48 pixels a side in ten plain tars; the index is built."""
    folder.mkdir(parents=True)
    for shard, ids in enumerate(np.array_split(np.arange(num_images), NUM_SHARDS)):
        path = folder / f"train-{shard:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for id in ids.tolist():
                _add(tar, f"{id:08d}.jpg", _jpeg(id))
                _add(tar, f"{id:08d}.cls", str(id % 10).encode())
    return ShardIndex.open(folder)


def corrupt_images(index: ShardIndex) -> list[int]:
    """Every tenth image, at random, becomes noise, zeros, half of itself or another file."""
    rng = np.random.default_rng(0)
    ids = np.sort(rng.choice(len(index), int(SHARE * len(index)), replace=False)).tolist()
    for number, id in enumerate(ids):
        size = index.entry(id).size
        original = _read(index, id)
        _overwrite(index, id, _RUIN[number % len(_RUIN)](original, rng)[:size].ljust(size, b"\0"))
    return ids


def cut_tail(index: ShardIndex) -> list[int]:
    """The last tar loses its last third while it is in use, as on a disk that failed."""
    shard = len(index.shards) - 1
    size = index.shards[shard].size_bytes * 2 // 3
    os.truncate(_path(index, shard), size)
    ids = np.flatnonzero(index.records["shard"] == shard)
    rows = index.rows(ids)
    return ids[rows["offset"] + rows["size"] > size].tolist()


def swap_members(index: ShardIndex) -> list[int]:
    """Neighbours in a tar trade places, a tenth of all: whole images, the wrong ones."""
    ids = np.arange(0, len(index) - 1, int(2 / SHARE)).tolist()
    bad = []
    for id in ids:
        if index.entry(id).shard == index.entry(id + 1).shard:
            images = [_read(index, id), _read(index, id + 1)]
            for place, image in ((id, images[1]), (id + 1, images[0])):
                size = index.entry(place).size
                _overwrite(index, place, image[:size].ljust(size, b"\0"))
            bad += [id, id + 1]
    return bad


def delete_shard(index: ShardIndex) -> list[int]:
    """A tar goes away before a reader has opened it; one that is open stays readable."""
    shard = len(index.shards) // 2
    _path(index, shard).unlink()
    return np.flatnonzero(index.records["shard"] == shard).tolist()


DAMAGES: dict[str, Callable[[ShardIndex], list[int]]] = {
    CORRUPT: corrupt_images,
    "a tar loses its tail": cut_tail,
    "members are swapped": swap_members,
    "a tar is deleted": delete_shard,
}
_RUIN: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    lambda original, rng: rng.bytes(len(original)),
    lambda original, rng: b"",
    lambda original, rng: original[: len(original) // 2],
    lambda original, rng: b"#!/bin/sh\necho hello\n",
    lambda original, rng: original[:20] + b"\xff" * len(original),
)


def _jpeg(number: int) -> bytes:
    rng = np.random.default_rng(number)
    width, height = rng.integers(32, 49, 2).tolist()
    coarse = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _path(index: ShardIndex, shard: int) -> Path:
    assert isinstance(index.directory, Path)  # what is broken here lies on this disk
    return index.directory / index.shards[shard].name


def _read(index: ShardIndex, id: int) -> bytes:
    entry = index.entry(id)
    with open(_path(index, entry.shard), "rb") as file:
        file.seek(entry.offset)
        return file.read(entry.size)


def _overwrite(index: ShardIndex, id: int, data: bytes) -> None:
    entry = index.entry(id)
    with open(_path(index, entry.shard), "r+b") as file:
        file.seek(entry.offset)
        file.write(data)
