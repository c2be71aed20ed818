"""Names of the files that packed images were, read from beside them; keys where there are none."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.index import ShardIndex
from shards.packing.pack import pack
from shards.sources.demo_set import DemoSource
from shards.sources.folder import FolderSource
from shards.upkeep.folder_check import check_folder


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """JPEG and PNG, a long name, one that is no ASCII, one that is no text."""
    folder = tmp_path / "images"
    names = ["a/1.jpg", "a/2.png", "b/" + "x" * 200 + ".png", "b/ü ✓.jpg"]
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        size = (8 + 200 * (i % 2), 8 + i)
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    Image.new("RGB", (8, 8)).save(folder / "b/z.png")
    os.rename(folder / "b/z.png", os.fsencode(folder / "b") + b"/\xff.png")
    pack(FolderSource(folder), tmp_path / "out", workers=1)
    return tmp_path / "out"


def test_names_are_those_of_the_source(packed: Path) -> None:
    """By id, in the order asked for; the key is the number in the source's own order."""
    index = ShardIndex.open(packed)
    source = FolderSource(packed.parent / "images")
    ids = np.arange(len(index))[::-1]
    assert index.names(ids) == [source.names[int(index.key(int(i)))] for i in ids]
    assert sorted(index.names(ids)) == sorted(source.names)
    assert index.names([]) == []
    with pytest.raises(IndexError):
        index.names([len(index)])


def test_without_files_names_are_keys(tmp_path: Path, shard_folder: Path) -> None:
    """Of a source that has none, and of tars that were indexed in place."""
    pack(DemoSource("test"), tmp_path / "demo", workers=1, limit=3)
    for folder in (tmp_path / "demo", shard_folder):
        index = ShardIndex.open(folder)
        assert index.names([2, 0]) == [index.key(2), index.key(0)]


def test_a_check_says_which_file_a_bad_image_was(packed: Path) -> None:
    """A byte of an image's pixels is wrong: its member and its file stand in the line."""
    index = ShardIndex.open(packed)
    id = index.names(np.arange(len(index))).index("a/2.png")
    entry, tar = index.entry(id), packed / index.shards[0].name
    data = bytearray(tar.read_bytes())
    data[entry.offset + entry.size // 2] ^= 255
    tar.write_bytes(data)
    problems = check_folder(packed, workers=1).problems
    assert any(f"{index.key(id)}.png (a/2.png): crc32 is" in problem for problem in problems)
