"""A check finds every kind of damage and names it; a whole folder has none."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faulty_server import FaultyServer

from shards.errors import DataError
from shards.format import Manifest, ShardInfo
from shards.index import ShardIndex, write_index
from shards.processes import parallel
from shards.remote.address import RemoteFolder
from shards.upkeep.folder_check import check_folder

HASH = "0" * 64


def rewrite(folder: Path, change=None, sha256: str | None = None) -> None:
    """Write the folder's index again with `change(records)` made to it, or with hashes."""
    index = ShardIndex.open(folder)
    records = np.array(index.records)
    if change:
        change(records)
    shards = tuple(ShardInfo(s.name, s.num_samples, s.size_bytes, sha256) for s in index.shards)
    write_index(folder, records, Manifest(shards, index.classes))


def patch(path: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_whole_folder_has_no_problems(shard_folder: Path) -> None:
    """And the report says how much was looked at."""
    report = check_folder(shard_folder)
    assert report.problems == ()
    assert (report.num_samples, report.num_shards, report.num_hashed) == (37, 3, 0)
    assert report.size_bytes == sum(p.stat().st_size for p in shard_folder.glob("*.tar"))


def test_every_field_of_a_record_is_checked(new_shards) -> None:
    """Checksum, size, offset, height and label of single records, each named by its member."""
    folder = new_shards()

    def change(records: np.ndarray) -> None:
        records["crc32"][1] += 1
        records["size"][3] -= 1
        records["offset"][5] += 512
        records["height"][7] += 1
        records["label"][8] = 0

    rewrite(folder, change)
    problems = "\n".join(check_folder(folder).problems)
    tar = "train-000000.tar: "
    assert f"{tar}00000001.jpg: crc32 is " in problems
    assert f"{tar}00000003.jpg: " in problems
    assert f"{tar}00000005.jpg: not in the index" in problems
    assert f"{tar}1 sample of the index is not there (ids 5 to 5)" in problems
    assert f"{tar}00000007.jpg: " in problems
    assert "pixels, must be" in problems
    assert f"{tar}00000008.cls: '2', must be 0 or '0'" in problems
    assert problems.count("\n") == 5


def test_a_flipped_byte_is_found(new_shards) -> None:
    """In an image, checksums tell, with and without decoding; anywhere, the file's hash tells."""
    folder = new_shards()
    entry = ShardIndex.open(folder).entry(20)
    patch(folder / "train-000001.tar", entry.offset + entry.size - 9, b"\0\1\2")
    for decode in (True, False):
        (problem,) = check_folder(folder, decode=decode).problems
        assert problem.startswith("train-000001.tar: 00000020.jpg: crc32 is ")
    rewrite(folder, sha256=HASH)
    problems = check_folder(folder).problems
    assert sum("sha256 is " in problem for problem in problems) == 3


def test_an_image_that_only_looks_whole_is_found_by_decoding(
    tmp_path: Path, make_tar, encode
) -> None:
    """Its header and checksum agree; its pixels are cut off."""
    png = encode(64, 64, "PNG")
    make_tar(tmp_path / "x.tar", [("a.png", png[: len(png) // 2]), ("b.jpg", encode(9, 9))])
    assert check_folder(tmp_path, decode=False).problems == ()
    (problem,) = check_folder(tmp_path).problems
    assert problem.startswith("x.tar: a.png: the pixels cannot be decoded")


def test_an_image_that_was_refused_is_named_with_its_reason(
    tmp_path: Path, make_tar, encode
) -> None:
    """It is in the tar and in no index; a second image of a sample is not missed."""
    members = [("a.jpg", encode(9, 9)), ("a.png", encode(9, 9, "PNG")), ("b.jpg", b"")]
    make_tar(tmp_path / "x.tar", members)
    assert check_folder(tmp_path).problems == (
        "x.tar: b.jpg: not in the index (the file is empty)",
    )


@pytest.mark.parametrize("packed", [False, True])
def test_missing_added_and_cut_tars_are_all_named(new_shards, make_tar, packed: bool) -> None:
    """One check names everything, also where opening would stop at the first."""
    folder = new_shards()
    ShardIndex.open(folder)
    if packed:
        rewrite(folder, sha256=HASH)
    (folder / "train-000000.tar").unlink()
    os.truncate(folder / "train-000001.tar", 6000)
    make_tar(folder / "more.tar", [])
    problems = "\n".join(check_folder(folder).problems)
    assert "train-000000.tar: missing" in problems
    assert "more.tar: not in the manifest" in problems
    assert "train-000001.tar: 6,000 bytes, must be" in problems
    assert "train-000001.tar: cut off or damaged at byte 5,632" in problems
    assert "samples of the index are not there" in problems


def test_a_damaged_index_is_named(new_shards) -> None:
    """Records that were changed or cut off do not pass for the ones that were written."""
    folder = new_shards()
    ShardIndex.open(folder)
    patch(folder / "index.npy", os.path.getsize(folder / "index.npy") - 12, b"\7")
    assert "index.npy: its sha256 is not the manifest's" in check_folder(folder).problems
    os.truncate(folder / "index.npy", 400)
    assert check_folder(folder).problems == ("index.npy: missing or not 37 whole records",)


def test_repeated_keys_are_named(tmp_path: Path, make_tar, encode) -> None:
    """Over tars only where the packer made them: others may number each tar anew."""
    for name in ("x.tar", "y.tar"):
        make_tar(tmp_path / name, [("a.jpg", encode(9, 9))])
    assert check_folder(tmp_path).problems == ()
    rewrite(tmp_path, sha256=HASH)
    assert "a: key in 2 shards" in check_folder(tmp_path).problems


def test_without_an_index_torn_tars_are_an_error(new_shards) -> None:
    """There is nothing to compare with, and none is made."""
    folder = new_shards()
    os.truncate(folder / "train-000001.tar", 6000)
    with pytest.raises(DataError, match=r"train-000001\.tar"):
        check_folder(folder)


def test_processes_find_the_same(new_shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems come in the order of the shards, however they are found."""
    folder = new_shards()
    rewrite(folder, lambda records: records["crc32"].__iadd__(1))
    here = check_folder(folder, decode=False).problems
    monkeypatch.setattr(parallel, "_WORTH_PROCESSES_BYTES", 0)
    assert check_folder(folder, decode=False, workers=2).problems == here
    assert len(here) == 37


def test_remote_shards_are_checked_from_afar(
    new_shards, serve: Callable[..., FaultyServer]
) -> None:
    """All is well in spite of the network; then damage, and what is gone, is named as on a disk."""
    folder = new_shards()
    index = ShardIndex.open(folder)
    server = serve(folder, fail=0.2)
    assert check_folder(RemoteFolder(server.url, timeout_s=5)).problems == ()
    shutil.rmtree(Path(os.environ["AUGENGINE_CACHE"]) / "shards")
    entry = index.entry(20)
    patch(folder / "train-000001.tar", entry.offset + 30, b"damage")
    (folder / "train-000002.tar").unlink()
    problems = check_folder(RemoteFolder(server.url, timeout_s=5), decode=False).problems
    assert "train-000002.tar: cannot be read: not found (404)" in problems
    assert any(p.startswith("train-000001.tar: 00000020.jpg: crc32 is") for p in problems)
    assert all("train-000000.tar" not in problem for problem in problems)
