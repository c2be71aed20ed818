"""Bytes come back in the order asked for; what is bad comes back named."""

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from shards.index import ShardIndex
from shards.reader import SampleError, ShardReader
from shards.tars.local_files import ShardFiles


def whole_images(index: ShardIndex) -> list[bytes]:
    """Every image, cut from its tar by hand."""
    tars = [(index.directory / shard.name).read_bytes() for shard in index.shards]
    entries = [index.entry(i) for i in range(len(index))]
    return [tars[e.shard][e.offset : e.offset + e.size] for e in entries]


def damage(index: ShardIndex, sample_id: int) -> None:
    """Flip one byte of a sample."""
    entry = index.entry(sample_id)
    with open(index.directory / index.shards[entry.shard].name, "r+b") as file:
        file.seek(entry.offset + entry.size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 255]))


def test_order_and_repeats_are_kept(shard_folder: Path) -> None:
    """The answer is aligned with the question."""
    index = ShardIndex.open(shard_folder)
    images = whole_images(index)
    ids = np.array([36, 0, 12, 0, 13])
    with ShardReader(index, verify=True) as reader:
        assert reader.read(ids) == [images[i] for i in ids]
        assert reader.read(np.array([], dtype=np.int64)) == []


def test_a_damaged_sample_is_named(new_shards) -> None:
    """With verify, its checksum gives it away and the others are delivered; without, bytes pass."""
    index = ShardIndex.open(new_shards())
    images = whole_images(index)
    damage(index, 5)
    with ShardReader(index, verify=True) as reader:
        good, bad, last = reader.read(np.array([4, 5, 6]))
    assert (good, last) == (images[4], images[6])
    assert isinstance(bad, SampleError)
    assert (bad.id, bad.key) == (5, "00000005")
    assert "crc32" in bad.reason
    assert "train-000000.tar" in bad.reason
    with ShardReader(index) as reader:
        assert isinstance(reader.read(np.array([5]))[0], bytes)


def test_a_shard_cut_while_running_is_named(new_shards) -> None:
    """A short read is an answer, with or without verify; so is a header that is gone, or a file."""
    index = ShardIndex.open(new_shards())
    entry = index.entry(3)
    shard = index.directory / index.shards[0].name
    with ShardReader(index) as reader:
        os.truncate(shard, entry.offset + 10)
        before, cut, gone = reader.read(np.array([2, 3, 9]))
        assert isinstance(before, bytes)
        assert isinstance(cut, SampleError)
        assert cut.key == "00000003"
        assert cut.reason.startswith(f"the shard ends after 10 of {entry.size} bytes")
        assert isinstance(gone, SampleError)
        assert gone.key == f"byte {index.entry(9).offset} of train-000000.tar"
        reader.close()
        shard.unlink()
        (missing,) = reader.read(np.array([3]))
        assert isinstance(missing, SampleError)
        assert "cannot be read: No such file" in missing.reason


def test_an_id_outside_is_the_callers_mistake(shard_folder: Path) -> None:
    """It is raised, not answered."""
    with ShardReader(ShardIndex.open(shard_folder)) as reader, pytest.raises(IndexError):
        reader.read(np.array([37]))


def test_threads_share_a_reader(shard_folder: Path) -> None:
    """Many threads over fewer descriptors than shards get the right bytes, and leak none."""
    index = ShardIndex.open(shard_folder)
    images = whole_images(index)
    reader = ShardReader(index)
    reader._files = ShardFiles(shard_folder, [s.name for s in index.shards], max_open=1)
    gc.collect()  # what earlier tests left open
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None

    def work(seed: int) -> bool:
        ids = np.random.default_rng(seed).integers(0, 37, 50)
        return reader.read(ids) == [images[i] for i in ids]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
    reader.close()
    reader.close()
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before
