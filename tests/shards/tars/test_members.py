"""Tars of any origin are read as webdataset reads them, and torn ones are refused."""

import subprocess
import tarfile
from pathlib import Path

import pytest
from webdataset.tariterators import base_plus_ext, group_by_keys, tar_file_iterator

from shards.errors import DataError
from shards.tars.local_files import ShardFiles
from shards.tars.members import iter_members, iter_samples, split_name

NAMES = [
    "a.jpg",
    "a.JPG",
    "a.seg.PNG",
    "./a.jpg",
    "../x/a.jpg",
    "dir/a.b.c",
    "v1.0/a.jpg",
    "v1.0/README",
    "README",
    "a b/c d.jpg",
    "a\nb/c.jpg",
    "a.",
    "..jpg",
    ".hidden",
    "v1.0/.hidden",
    "x/__y__.jpg",
    "é/ü.jpeg",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_splits_as_in_webdataset(name: str) -> None:
    """Key and extension are webdataset's, the extension in lower case."""
    key, extension = base_plus_ext(name)
    assert split_name(name) == (None if key is None else (key, extension.lower()))


@pytest.mark.parametrize("name", ["d/.hidden.jpg", "._a.jpg", "__meta__/a.jpg", "__meta__"])
def test_a_dotfile_and_a_meta_entry_belong_to_no_sample(name: str) -> None:
    """What file managers and writers leave behind is skipped."""
    assert split_name(name) is None


def test_samples_group_as_in_webdataset(tmp_path: Path, make_tar) -> None:
    """Neighbours with one key form a sample, with the names and bytes webdataset gives."""
    members = [
        ("__meta__/x.json", b"m"),
        ("README", b"r"),
        ("d/a.jpg", b"1"),
        ("d/a.cls", b"22"),
        ("d/a.seg.png", b"333"),
        ("b.JPG", b"4444"),
        ("notes", b"skipped, and does not part b from b"),
        ("b.json", b"{}"),
        ("e/a.jpg", b"5"),
    ]
    path = make_tar(tmp_path / "x.tar", members)
    with open(path, "rb") as file:
        theirs = list(group_by_keys({**row, "__url__": ""} for row in tar_file_iterator(file)))
    data = path.read_bytes()
    ours = [
        {member.extension: data[member.offset : member.offset + member.size] for member in sample}
        | {"__key__": sample[0].key, "__url__": ""}
        for sample in iter_samples(path)
    ]
    assert ours == theirs


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_whole(tmp_path: Path, make_tar, format: int) -> None:
    """A name over 100 bytes is read from its extension header, also from the data backwards."""
    names = ["é" * 120 + ".jpg", "d/" * 90 + "b.jpg", "c.jpg", "x" * 700 + ".jpg"]
    path = make_tar(tmp_path / "x.tar", [(name, b"data" * 99) for name in names], format)
    members = list(iter_members(path))
    assert [member.name for member in members] == names
    files = ShardFiles(tmp_path, ["x.tar"])
    assert [files.key(0, member.offset) for member in members] == [m.key for m in members]
    files.close()


def test_gnu_tar_of_a_folder_is_read(tmp_path: Path) -> None:
    """`tar cf x.tar -C folder .` gives keys with ./ and no entry for the folders."""
    (tmp_path / "in" / "cat").mkdir(parents=True)
    (tmp_path / "in" / "cat" / "1.jpg").write_bytes(b"x" * 1000)
    subprocess.run(["tar", "cf", tmp_path / "x.tar", "-C", tmp_path / "in", "."], check=True)
    assert [member.key for member in iter_members(tmp_path / "x.tar")] == ["./cat/1"]


@pytest.mark.parametrize(
    "members",
    [
        [("a.jpg", b"1"), ("a.jpg", b"2")],
        [("a.jpg", b"1"), ("b.jpg", b"2"), ("a.cls", b"0")],
        [("a.jpg", b"1"), ("a.JPG", b"2")],
    ],
)
def test_a_key_comes_once(tmp_path: Path, make_tar, members) -> None:
    """A second sample or member of the same name is an error that names it."""
    path = make_tar(tmp_path / "x.tar", members)
    with pytest.raises(DataError, match=rf"got {members[-1][0]} a second time for 'a'"):
        list(iter_samples(path))


def test_a_tar_cut_anywhere_is_an_error(tmp_path: Path, make_tar) -> None:
    """Every length short of the end marker is noticed, also between two members."""
    path = make_tar(tmp_path / "x.tar", [("a.jpg", b"1" * 700), ("b.jpg", b"2" * 100)])
    data = path.read_bytes()
    end = 512 * (1 + 2 + 1 + 1)
    for size in [0, 1, 511, 512, 600, 1200, 1536, 1600, 2048, 2100, end]:
        path.write_bytes(data[:size])
        with pytest.raises(DataError, match=r"x\.tar"):
            list(iter_members(path))
    path.write_bytes(data[: end + 512])
    assert len(list(iter_members(path))) == 2


def test_a_damaged_header_is_an_error(tmp_path: Path, make_tar) -> None:
    """Python's tarfile would end quietly at a bad header in the middle."""
    path = make_tar(tmp_path / "x.tar", [("a.jpg", b"1"), ("b.jpg", b"2")])
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"at byte 1,024 .*; copy it again"):
        list(iter_members(path))


def test_a_compressed_or_missing_tar_is_an_error(tmp_path: Path) -> None:
    """What is no plain tar is refused by name."""
    with tarfile.open(tmp_path / "x.tar", "w:gz"):
        pass
    for name in ("x.tar", "y.tar"):
        with pytest.raises(DataError, match=name):
            list(iter_members(tmp_path / name))
