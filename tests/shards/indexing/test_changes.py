"""A tar that was rewritten after it was indexed is noticed; one that was only copied stays."""

import io
import json
import logging
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from noise import Noise, pack_small

from shards.errors import DataError
from shards.format import TIMES_NAME, Manifest
from shards.index import ShardIndex, build_index, write_index
from shards.indexing import changes, local_index
from shards.reader import SampleError, ShardReader
from shards.store import cache_folder
from shards.tars.local_files import sha256_of
from shards.upkeep.folder_check import check_folder

HOUR_NS = 3600 * 10**9
SWAPPED = {b"0": b"1", b"1": b"0"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path / "cache"))


def members(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        found = [(info, tar.extractfile(info)) for info in tar]
        return [(info, file.read()) for info, file in found if file is not None]


def write(path: Path, content: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    size = path.stat().st_size
    part = path.with_suffix(".new")
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for info, data in content:
            tar.addfile(info, io.BytesIO(data))
    assert part.stat().st_size == size
    part.rename(path)


def swap_labels(path: Path) -> None:
    """Give the classes 0 and 1 each other's images; the tar keeps its size."""
    write(path, [(info, SWAPPED.get(data, data)) for info, data in members(path)])


def flip_a_bit(path: Path) -> None:
    """Let a bit of the last image be another: sizes, offsets and labels stay."""
    content = members(path)
    row = max(i for i, (info, _) in enumerate(content) if info.name.endswith(".jpg"))
    info, data = content[row]
    content[row] = info, data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
    write(path, content)


def keep_time(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """The same change, and the former time put back, as archives and downloads do."""

    def changed(path: Path) -> None:
        state = path.stat()
        change(path)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    return changed


def make_older(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """The same change by a file of last year, as `cp -p` and `mv` bring."""

    def changed(path: Path) -> None:
        change(path)
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 8760 * HOUR_NS))

    return changed


CHANGES = {
    "labels": swap_labels,
    "labels, time kept": keep_time(swap_labels),
    "labels, older": make_older(swap_labels),
    "one image": flip_a_bit,
    "one image, time kept": keep_time(flip_a_bit),
}


def labels(index: ShardIndex) -> list[int]:
    return index.labels(np.arange(len(index))).tolist()


def seal(folder: Path) -> Manifest:
    """Give an indexed folder hashes, as one that was packed has."""
    index = ShardIndex.open(folder)
    shards = tuple(replace(s, sha256=sha256_of(folder / s.name)) for s in index.shards)
    manifest = Manifest(shards, index.classes, {"tool": "make_shards"})
    return write_index(folder, np.array(index.records), manifest)


def lock_out(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Let folders be of a disk that is mounted read-only."""
    real_open = open

    def no_writing(file: object, mode: str = "r", *args: object, **more: object) -> object:
        if "w" in mode and Path(str(file)).parent in folders:
            raise OSError(30, "Read-only file system")
        return real_open(file, mode, *args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", no_writing)
    monkeypatch.setattr(
        "shards.store._can_write", lambda place: place not in folders and place.is_dir()
    )


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("where", ["beside", "in the user's cache"])
def test_a_rewritten_tar_is_indexed_again(
    new_shards,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Path], None],
    where: str,
) -> None:
    """Of the same size, whatever its time: what is in the tars now is what the index says."""
    folder = new_shards()
    if where != "beside":
        lock_out(monkeypatch, folder)
    before = ShardIndex.open(folder)
    assert (folder / "manifest.json").exists() == (where == "beside")
    change(folder / "train-000001.tar")
    with caplog.at_level(logging.WARNING):
        after = ShardIndex.open(folder)
    assert after.fingerprint == build_index(folder).fingerprint != before.fingerprint
    assert "is rebuilt: train-000001.tar holds other" in caplog.text
    monkeypatch.setattr(local_index, "scan_folder", None)
    assert ShardIndex.open(folder).fingerprint == after.fingerprint


@pytest.mark.parametrize("change", list(CHANGES.values())[:3], ids=list(CHANGES)[:3])
def test_a_rewritten_packed_tar_is_refused(new_shards, change: Callable[[Path], None]) -> None:
    """It was hashed when it was written, so it is named; --overwrite takes it as it is."""
    folder = new_shards()
    seal(folder)
    ShardIndex.open(folder)
    change(folder / "train-000001.tar")
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"train-000001\.tar with other content.*restore it, or delete"
        ):
            ShardIndex.open(folder)
    with pytest.raises(DataError, match=r"train-000001\.tar with other content.*restore it"):
        build_index(folder)
    index = build_index(folder, overwrite=True)
    assert [shard.sha256 is None for shard in index.shards] == [False, True, False]
    assert ShardIndex.open(folder).fingerprint == index.fingerprint


@pytest.mark.parametrize("change", list(CHANGES.values())[3:], ids=list(CHANGES)[3:])
def test_a_damaged_packed_tar_is_told(
    new_shards, caplog: pytest.LogCaptureFixture, change: Callable[[Path], None]
) -> None:
    """Labels and places are as they were: the run goes on and leaves out what cannot be used."""
    folder = new_shards()
    fingerprint = seal(folder).fingerprint
    ShardIndex.open(folder)
    change(folder / "train-000001.tar")
    with caplog.at_level(logging.WARNING):
        index = ShardIndex.open(folder)
    assert index.fingerprint == fingerprint
    assert "train-000001.tar with other content" in caplog.text
    assert "data.verify=true leaves them out" in caplog.text
    with pytest.raises(DataError, match="with other content"):
        build_index(folder)
    with ShardReader(index, verify=True) as reader:
        bad = [item for item in reader.read(np.arange(37)) if isinstance(item, SampleError)]
    assert len(bad) == 1


def test_damage_is_no_edit(new_shards, caplog: pytest.LogCaptureFixture) -> None:
    """Images that cannot be read any more are bad samples, not a new data set."""
    folder = new_shards()
    index = ShardIndex.open(folder)
    for id, byte in ((3, 0), (20, 0), (30, 200)):
        entry = index.entry(id)
        with open(folder / index.shards[entry.shard].name, "r+b") as file:
            file.seek(entry.offset + byte)
            file.write(bytes(16))
    with caplog.at_level(logging.WARNING):
        again = ShardIndex.open(folder)
    assert again.fingerprint == index.fingerprint
    assert caplog.text.count("some of its images are damaged") == 3
    with ShardReader(again, verify=True) as reader:
        found = reader.read(np.arange(37))
    assert [item.id for item in found if isinstance(item, SampleError)] == [3, 20, 30]
    swap_labels(folder / "train-000000.tar")
    assert ShardIndex.open(folder).fingerprint != index.fingerprint


def test_indexing_again_is_what_was_asked_for(new_shards) -> None:
    """An explicit build reads the tars, also where nothing could be noticed."""
    folder = new_shards()
    before = labels(ShardIndex.open(folder))
    swap_labels(folder / "train-000000.tar")
    tars = local_index.tar_states(folder)
    changes.keep_times([folder], ShardIndex.open(folder).manifest, tars)
    assert labels(build_index(folder)) != before


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("copy", ["time kept", "other times", "without the list of times"])
def test_a_copy_is_the_same(
    new_shards,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    copy: str,
    is_packed: bool,
) -> None:
    """Read once at most, told where it is read in full, and from then on opened at once."""
    folder = new_shards()
    fingerprint = (seal(folder) if is_packed else ShardIndex.open(folder).manifest).fingerprint
    ShardIndex.open(folder)
    there = tmp_path / "there"
    with_time = copy == "time kept"
    shutil.copytree(folder, there, copy_function=shutil.copy2 if with_time else shutil.copyfile)
    later = (there / "manifest.json").stat().st_mtime_ns + 10**9
    if not with_time:
        for tar in there.glob("*.tar"):
            os.utime(tar, ns=(later, later))
    if copy.startswith("without"):
        (there / TIMES_NAME).unlink()
    monkeypatch.setattr(local_index, "scan_folder", None)
    with caplog.at_level(logging.WARNING):
        assert ShardIndex.open(there).fingerprint == fingerprint
    is_told = copy == "other times" or (copy.startswith("without") and not is_packed)
    assert ("they are read once" in caplog.text) == is_told
    assert (f"the index of {there} stays" in caplog.text) == is_told
    monkeypatch.setattr(local_index, "first_other", None)
    assert ShardIndex.open(there).fingerprint == fingerprint


def test_an_index_of_a_former_release_opens_at_once(
    new_shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no times: tars that are older than it are those that it was made of."""
    folder = new_shards()
    index = ShardIndex.open(folder)
    (folder / TIMES_NAME).unlink()
    assert "times" not in (folder / "manifest.json").read_text()
    monkeypatch.setattr(local_index, "first_other", None)
    assert ShardIndex.open(folder).fingerprint == index.fingerprint
    assert (folder / TIMES_NAME).exists()


def test_a_tar_rewritten_before_this_release_is_noticed(new_shards) -> None:
    """It is newer than its index."""
    folder = new_shards()
    before = labels(ShardIndex.open(folder))
    (folder / TIMES_NAME).unlink()
    swap_labels(folder / "train-000001.tar")
    assert labels(ShardIndex.open(folder)) != before


def test_a_stale_index_beside_read_only_tars_is_left_for_the_cache(
    new_shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right one is made in the user's cache, once, and found there."""
    folder = new_shards()
    before = ShardIndex.open(folder)
    swap_labels(folder / "train-000001.tar")
    lock_out(monkeypatch, folder)
    after = ShardIndex.open(folder)
    assert after.fingerprint != before.fingerprint
    assert (cache_folder(folder) / "manifest.json").exists()
    monkeypatch.setattr(local_index, "first_other", None)
    assert ShardIndex.open(folder).fingerprint == after.fingerprint


def test_nowhere_to_write_does_not_stop_a_true_index(
    new_shards, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What cannot be remembered is looked at again."""
    folder = new_shards()
    fingerprint = ShardIndex.open(folder).fingerprint
    later = (folder / "manifest.json").stat().st_mtime_ns + HOUR_NS
    os.utime(folder / "train-000002.tar", ns=(later, later))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path / "file"))
    lock_out(monkeypatch, folder, tmp_path)
    for _ in range(2):
        assert ShardIndex.open(folder).fingerprint == fingerprint


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"index_sha256": 3, "tars": []}', "\0" * 9, '{"tars": 1}']
)
def test_a_damaged_list_of_times_is_none(new_shards, content: str) -> None:
    """It is written anew."""
    folder = new_shards()
    index = ShardIndex.open(folder)
    path = folder / TIMES_NAME
    path.write_text(content)
    assert ShardIndex.open(folder).fingerprint == index.fingerprint
    assert json.loads(path.read_text())["index_sha256"] == index.manifest.index_sha256


def test_a_spot_check_is_bounded(new_shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tars that were touched and have their time, a part is read; of others, every byte."""
    folder = new_shards()
    ShardIndex.open(folder)
    size = (folder / "train-000000.tar").stat().st_size
    monkeypatch.setattr(changes, "SPOT_CHECK_BYTES", size + 1)
    read: list[str] = []
    scan = changes.scan_tar
    monkeypatch.setattr(
        changes, "scan_tar", lambda path, key: read.append(path.name) or scan(path, key)
    )
    for tar in folder.glob("*.tar"):
        tar.chmod(0o640)
    ShardIndex.open(folder)
    assert len(read) == 1
    for tar in folder.glob("*.tar"):
        os.utime(tar)
    ShardIndex.open(folder)
    assert len(read) == 4
    ShardIndex.open(folder)
    assert len(read) == 4


@pytest.mark.parametrize(
    ("text", "number", "classes", "is_sure"),
    [
        (None, -1, (), True),
        (None, 0, ("0",), False),
        (1, 1, ("0", "1"), True),
        (1, 0, ("0", "1"), False),
        (7, 7, (), True),
        ("cat", 0, ("cat", "dog"), True),
        ("dog", 0, ("cat", "dog"), False),
        ("cow", 0, ("cat", "dog"), False),
        (1, 1, ("cat", "dog"), True),  # numbers in the tars, names from elsewhere
        (10, 1, ("1", "10", "cat"), True),  # names, of which one looks like a number
        (1, 1, ("1", "10", "cat"), False),  # a number or a name: reading all tars decides
    ],
)
def test_a_label_is_compared_by_what_it_means(
    text: int | str | None, number: int, classes: tuple[str, ...], is_sure: bool
) -> None:
    """A number by its number, a name by its place; what may be either is not the same for sure."""
    numbers = {name: place for place, name in enumerate(classes)}
    assert changes._is_label(text, number, numbers) == is_sure


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("change", [flip_a_byte, keep_time(flip_a_byte), make_older(flip_a_byte)])
def test_a_finished_set_that_was_rewritten_is_not_complete(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """Packing it again names the tar; with overwrite it is packed again, and then it is whole."""
    out = tmp_path / "out"
    pack_small(Noise(20), out)
    fingerprint = ShardIndex.open(out).fingerprint
    assert pack_small(Noise(20), out).was_complete
    change(min(out.glob("*.tar")))
    with pytest.raises(
        DataError, match=r"never changes, got .*\.tar with other content.*--overwrite"
    ):
        pack_small(Noise(20), out)
    pack_small(Noise(20), out, overwrite=True)
    assert ShardIndex.open(out).fingerprint == fingerprint
    assert pack_small(Noise(20), out).was_complete


def test_check_shards_looks_at_the_index_that_is_used(
    new_shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at an older one beside read-only tars."""
    folder = new_shards()
    ShardIndex.open(folder)
    swap_labels(folder / "train-000001.tar")
    assert check_folder(folder).problems
    lock_out(monkeypatch, folder)
    ShardIndex.open(folder)
    assert not check_folder(folder).problems
