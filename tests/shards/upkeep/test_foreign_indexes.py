"""Other readers of the tars get indexes in their formats, and read the same samples."""

import json
from pathlib import Path

import numpy as np
import pytest

from shards.errors import DataError
from shards.index import ShardIndex
from shards.reader import ShardReader
from shards.upkeep.foreign_indexes import export_dali, export_wids


@pytest.fixture
def mixed(tmp_path: Path, make_tar, encode) -> ShardIndex:
    """Two tars with what DALI's own index maker stumbles over."""
    for number in range(2):
        members = [
            ("__meta__/x.json", b"{}"),
            ("README", b"words"),
            (f"d/{number}a.JPG", encode(9, 8 + number)),
            (f"d/{number}a.cls", b"1"),
            (f"d/{number}bad.jpg", b""),
            (f"d/{number}b.jpg", encode(7, 8)),
            (f"d/{number}b.cls", b"0"),
        ]
        make_tar(tmp_path / f"{number}.v1.tar", members)
    return ShardIndex.open(tmp_path)


def test_dali_index_lists_our_samples(mixed: ShardIndex) -> None:
    """Version line with the count, then extension, offset, size and name of each member."""
    paths = export_dali(mixed)
    assert [path.name for path in paths] == ["0.v1.idx", "1.v1.idx"]
    first, *lines = paths[1].read_text().splitlines()
    assert first == "v1.2 2"
    extension, offset, size, name, *label = lines[0].split(" ")
    assert (extension, name, label[0], label[3]) == ("jpg", "d/1a.JPG", "cls", "d/1a.cls")
    assert (int(offset), int(size)) == (mixed.entry(2).offset, mixed.entry(2).size)


@pytest.mark.slow
def test_dali_reads_the_same_samples(mixed: ShardIndex) -> None:
    """DALI's reader, given our index, delivers our bytes and labels in our order."""
    dali = pytest.importorskip("nvidia.dali")
    indexes = [str(path) for path in export_dali(mixed)]

    @dali.pipeline_def(batch_size=4, num_threads=1, device_id=None)
    def pipeline():
        return tuple(
            dali.fn.readers.webdataset(
                paths=[str(mixed.directory / shard.name) for shard in mixed.shards],
                index_paths=indexes,
                ext=["jpg", "cls"],
            )
        )

    pipe = pipeline()
    pipe.build()
    images, labels = pipe.run()
    with ShardReader(mixed) as reader:
        ours = reader.read(np.arange(4))
    assert [bytes(images.at(i)) for i in range(4)] == ours
    assert [int(bytes(labels.at(i))) for i in range(4)] == mixed.labels(np.arange(4)).tolist()


def test_a_name_with_a_space_is_refused(tmp_path: Path, make_tar, encode) -> None:
    """DALI's index cannot say it, and nothing is written."""
    make_tar(tmp_path / "x.tar", [("a b.jpg", encode(9, 9))])
    with pytest.raises(DataError, match=r"'a b\.jpg'"):
        export_dali(ShardIndex.open(tmp_path))
    assert not list(tmp_path.glob("*.idx"))


def test_wids_lists_the_shards(mixed: ShardIndex) -> None:
    """Names, sizes and the counts wids itself would find, refused images included."""
    (path,) = export_wids(mixed)
    content = json.loads(path.read_text())
    assert (content["__kind__"], content["wids_version"]) == ("wids-shard-index-v1", 1)
    sizes = [shard.size_bytes for shard in mixed.shards]
    assert content["shardlist"] == [
        {"url": "0.v1.tar", "nsamples": 3, "filesize": sizes[0]},
        {"url": "1.v1.tar", "nsamples": 3, "filesize": sizes[1]},
    ]
