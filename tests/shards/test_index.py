"""An index opens in an instant, follows its tars, and says what is wrong in one line."""

import json
import logging
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from call_count import calls_of

from shards import store
from shards.errors import DataError, UsageError
from shards.format import INDEX_DTYPE, Manifest, ShardInfo
from shards.index import ShardIndex, build_index, write_index
from shards.store import cache_folder
from shards.tars.local_files import sha256_of


def seal(folder: Path) -> Manifest:
    """Give an indexed folder hashes, as one that was packed has."""
    index = ShardIndex.open(folder)
    shards = tuple(replace(s, sha256=sha256_of(folder / s.name)) for s in index.shards)
    manifest = Manifest(shards, ("x", "y", "z"), {"tool": "test"})
    return write_index(folder, np.array(index.records), manifest)


def test_the_index_agrees_with_the_tars(shard_folder: Path) -> None:
    """Every id leads to its key, size, label and bytes."""
    index = ShardIndex.open(shard_folder)
    assert len(index) == 37
    assert [index.key(i) for i in range(37)] == [f"{i:08d}" for i in range(37)]
    assert index.labels(np.arange(37)).tolist() == [i % 3 for i in range(37)]
    assert index.classes == ("0", "1", "2")
    sizes = index.sizes(np.array([5, 0]))
    entry = index.entry(5)
    assert sizes.dtype == np.int32
    assert sizes.shape == (2, 2)
    assert sizes[0].tolist() == [entry.height, entry.width]
    tar = (shard_folder / index.shards[entry.shard].name).read_bytes()
    assert tar[entry.offset : entry.offset + 3] == b"\xff\xd8\xff"


def test_opening_again_maps_and_builds_nothing(new_shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second open neither scans nor copies, and is the same index by fingerprint."""
    folder = new_shards()
    first = ShardIndex.open(folder)
    monkeypatch.setattr("shards.indexing.local_index.scan_folder", None)
    second = ShardIndex.open(folder)
    assert not second.records.flags.owndata  # mapped, not read
    assert second.fingerprint == first.fingerprint
    assert pickle.loads(pickle.dumps(second)).fingerprint == first.fingerprint


def test_the_fingerprint_is_of_the_samples(new_shards, tmp_path: Path) -> None:
    """It survives moving and rebuilding, and changes with a single byte of an image."""
    folder = new_shards()
    before = ShardIndex.open(folder).fingerprint
    moved = folder.rename(tmp_path / "elsewhere")
    assert build_index(moved).fingerprint == before
    path = moved / "train-000000.tar"
    data = bytearray(path.read_bytes())
    data[ShardIndex.open(moved).entry(0).offset + 300] ^= 1
    path.write_bytes(data)
    assert build_index(moved).fingerprint != before


def test_ids_outside_are_refused(shard_folder: Path) -> None:
    """A negative id does not wrap around."""
    index = ShardIndex.open(shard_folder)
    for ids in ([-1], [37], [0, 99]):
        with pytest.raises(IndexError, match=r"\[0, 37\)"):
            index.sizes(np.array(ids))


def test_a_changed_tar_is_indexed_again(
    new_shards, make_tar, encode, caplog: pytest.LogCaptureFixture
) -> None:
    """Tars indexed in place may change, be added and go; the index follows and says so."""
    folder = new_shards()
    ShardIndex.open(folder)
    path = make_tar(folder / "train-000003.tar", [("new.jpg", encode(9, 9))])
    with caplog.at_level(logging.WARNING):
        assert len(ShardIndex.open(folder)) == 38
    assert "train-000003.tar added" in caplog.text
    make_tar(path, [(f"new{i}.jpg", encode(99, 99)) for i in range(9)])
    assert len(ShardIndex.open(folder)) == 46
    path.unlink()
    assert len(ShardIndex.open(folder)) == 37


@pytest.mark.parametrize("damage", ["cut", "add", "remove"])
def test_a_changed_packed_folder_is_refused(new_shards, make_tar, damage: str) -> None:
    """Tars that were hashed when written do not change: that is damage, and named."""
    folder = new_shards()
    seal(folder)
    path = folder / "train-000001.tar"
    if damage == "cut":
        os.truncate(path, 5000)
    elif damage == "add":
        path = make_tar(folder / "more.tar", [])
    else:
        path.unlink()
    with pytest.raises(DataError, match=rf"{path.name}.*restore it, or delete manifest\.json"):
        ShardIndex.open(folder)


def test_a_lost_index_array_comes_back(new_shards) -> None:
    """Without index.npy, or with half of it, the same is built; hashes, names and origin stay."""
    folder = new_shards()
    manifest = seal(folder)
    os.truncate(folder / "index.npy", 500)
    index = ShardIndex.open(folder)
    assert index.manifest == manifest
    (folder / "index.npy").unlink()
    assert ShardIndex.open(folder).fingerprint == manifest.fingerprint


def test_refused_images_are_listed(tmp_path: Path, make_tar, encode) -> None:
    """What is not in the index is in quarantine.jsonl, which goes when there is nothing to list."""
    path = tmp_path / "x.tar"
    make_tar(path, [("a.jpg", encode(9, 9)), ("b.jpg", b""), ("c.jpg", encode(8, 8))])
    index = ShardIndex.open(tmp_path)
    assert [index.key(i) for i in range(len(index))] == ["a", "c"]
    rows = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert rows == [{"name": "x.tar:b", "reason": "the file is empty"}]
    make_tar(path, [("a.jpg", encode(9, 9))])
    build_index(tmp_path)
    assert not (tmp_path / "quarantine.jsonl").exists()


@pytest.mark.parametrize("variable", ["AUGENGINE_CACHE", "XDG_CACHE_HOME", "HOME"])
def test_a_folder_that_cannot_be_written_uses_the_cache(
    new_shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The index goes to the user's cache and is found there again."""
    folder = new_shards()
    for name in ("AUGENGINE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "cache"))
    can_write = store._can_write
    monkeypatch.setattr(store, "_can_write", lambda place: place != folder and can_write(place))
    index = ShardIndex.open(folder)
    assert not (folder / "index.npy").exists()
    assert next((tmp_path / "cache").rglob("manifest.json")).parent == cache_folder(folder)
    monkeypatch.setattr("shards.indexing.local_index.scan_folder", None)
    assert ShardIndex.open(folder).fingerprint == index.fingerprint


def test_nowhere_to_write_is_an_error(
    new_shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both places are named, and what to set."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    monkeypatch.setenv("AUGENGINE_CACHE", str(blocked))
    folder = new_shards()
    can_write = store._can_write
    monkeypatch.setattr(store, "_can_write", lambda place: place != folder and can_write(place))
    with pytest.raises(DataError, match=r"got neither .*shards nor .*blocked.*AUGENGINE_CACHE"):
        ShardIndex.open(folder)


def test_an_interrupted_write_never_looks_whole(
    new_shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the manifest, a folder has none, not even an older one, and no scraps."""
    folder = new_shards()
    index = ShardIndex.open(folder)
    replace_file = os.replace

    def stop_at_manifest(source: Path, target: Path) -> None:
        if Path(target).name == "manifest.json":
            raise KeyboardInterrupt
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", stop_at_manifest)
    with pytest.raises(KeyboardInterrupt):
        write_index(folder, np.array(index.records), index.manifest)
    left = {p.name for p in folder.iterdir() if p.suffix != ".tar"}
    assert left == {"index.npy", ".times.json"}
    monkeypatch.undo()
    assert ShardIndex.open(folder).fingerprint == index.fingerprint


def test_records_must_agree_with_the_manifest(tmp_path: Path) -> None:
    """Records out of order or of another number are a mistake of the caller."""
    records = np.zeros(3, INDEX_DTYPE)
    records["shard"] = [0, 1, 0]
    shards = (ShardInfo("a.tar", 2, 9, None), ShardInfo("b.tar", 1, 9, None))
    for rows in (records, records[:2]):
        with pytest.raises(ValueError, match="shard after shard"):
            write_index(tmp_path, rows, Manifest(shards, ()))
    assert not list(tmp_path.iterdir())


def test_bad_folders_are_named(tmp_path: Path, make_tar, encode) -> None:
    """No folder, a file, no tars, tars further down, compressed tars, no images: one line each."""
    with pytest.raises(DataError, match="nothing there"):
        ShardIndex.open(tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="a file"):
        ShardIndex.open(tmp_path / "file")
    with pytest.raises(DataError, match=r"python -m tools.make_shards"):
        ShardIndex.open(tmp_path)
    make_tar(tmp_path / "train" / "x.tar", [("a.txt", b"x")])
    with pytest.raises(DataError, match=r"such as .*train"):
        ShardIndex.open(tmp_path)
    with pytest.raises(DataError, match=r"no member is an image \(txt\)"):
        ShardIndex.open(tmp_path / "train")
    (tmp_path / "x.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="unpack the compressed"):
        ShardIndex.open(tmp_path)
    with pytest.raises(UsageError, match=r"got ftp://\.\.\.; copy them"):
        ShardIndex.open("ftp://bucket/x")
    with pytest.raises(UsageError, match="local folder, got s3://bucket/x"):
        build_index("s3://bucket/x")


def test_every_torn_tar_is_named(new_shards) -> None:
    """One line says all that has to be copied again."""
    folder = new_shards()
    for name in ("train-000000.tar", "train-000002.tar"):
        os.truncate(folder / name, 3000)
    with pytest.raises(DataError, match=r"train-000000\.tar.*train-000002\.tar"):
        ShardIndex.open(folder)
    assert not (folder / "manifest.json").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{torn", "delete it together with index.npy"),
        ('{"version": 99}', "must have version 1, got 99"),
        ('{"version": 1, "shards": [{"odd": 1}]}', "odd"),
    ],
)
def test_a_foreign_manifest_is_refused(new_shards, text: str, reason: str) -> None:
    """Unknown versions and damaged text are named with the folder."""
    folder = new_shards()
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=reason) as caught:
        ShardIndex.open(folder)
    assert str(folder) in str(caught.value)


def test_a_manifest_reads_back_equal() -> None:
    """to_json and from_json are inverse, and the same manifest gives the same text."""
    shards = (ShardInfo("a.tar", 2, 9, None), ShardInfo("é.tar", 1, 9, "ab"))
    manifest = Manifest(shards, ("x", "ü"), {"tool": "t", "seed": 3}, "cd")
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert not manifest.sealed
    assert manifest.num_samples == 3


def test_a_million_samples_open_like_a_thousand(tmp_path: Path) -> None:
    """Opening reads no tar, and does nothing for each record."""

    def opening(per_shard: int) -> int:
        folder = tmp_path / str(per_shard)
        folder.mkdir()
        records = np.zeros(100 * per_shard, INDEX_DTYPE)
        records["shard"] = np.repeat(np.arange(100), per_shard)
        shards = tuple(ShardInfo(f"{i:03d}.tar", per_shard, 512, None) for i in range(100))
        for shard in shards:
            (folder / shard.name).write_bytes(bytes(512))
        write_index(folder, records, Manifest(shards, ()))
        assert len(ShardIndex.open(folder)) == 100 * per_shard
        return calls_of(lambda: ShardIndex.open(folder))

    assert opening(10_000) == opening(10)
