"""Tars, compressed tars and zips as SOURCE: at any depth, labelled as they mean it, in bounds."""

import gzip
import io
import json
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from pictures import jpeg_of

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL
from shards.packing.pack import pack
from shards.samples.image_header import ImageError
from shards.sources import open_archives as archives
from shards.sources import unpack
from shards.sources.archive import ArchiveSource
from shards.sources.detect import open_source

Members = Sequence[tuple[str, bytes]]
PHOTOS = [
    (f"{c}/{k}.jpg", jpeg_of(10 * n + k)) for n, c in enumerate(("cat", "dog")) for k in range(3)
]
SHARD = [("a.jpg", jpeg_of(1)), ("a.cls", b"1"), ("b.jpg", jpeg_of(2)), ("b.cls", b"0")]


def write_tar(path: Path, members: Members, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # pyright: ignore[reportCallIssue,reportArgumentType]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_zip(path: Path, members: Members, kind: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def images_of(source: ArchiveSource) -> list[bytes]:
    return [source[i].load() for i in range(len(source))]  # pyright: ignore[reportReturnType]


KINDS = {
    "x.tar": "w",
    "x.tar.gz": "w:gz",
    "x.TGZ": "w:gz",
    "x.tar.bz2": "w:bz2",
    "x.tar.xz": "w:xz",
    "misnamed.tar": "w:gz",
    "plain.tar.gz": "w",
}


@pytest.mark.parametrize("name", [*KINDS, "x.zip", "x.ZIP", "stored.zip"])
def test_every_kind_is_read(tmp_path: Path, name: str) -> None:
    """By its content, as a file, a folder that holds it at any depth, or a glob."""
    path = tmp_path / "deep/er" / name
    if name.lower().endswith(".zip"):
        write_zip(path, PHOTOS, zipfile.ZIP_STORED if "stored" in name else zipfile.ZIP_DEFLATED)
    else:
        write_tar(path, [(f"./{n}", data) for n, data in PHOTOS], KINDS[name])
    for spec in (path, tmp_path, path.parent / "*", path.parent):
        if spec.name == "*":
            spec = path.parent / f"*{path.suffix}"
        source = open_source(str(spec), scratch=tmp_path)
        assert isinstance(source, ArchiveSource)
        assert source.classes == ("cat", "dog")
        assert [source[i].label for i in range(6)] == [0, 0, 0, 1, 1, 1]
        assert images_of(source) == [data for _, data in PHOTOS]
        assert source[0].name.removeprefix("./") == "cat/0.jpg"


def test_webdatasets_labels_come_first(tmp_path: Path) -> None:
    """Of several archives, with samples that have none counted."""
    write_tar(tmp_path / "part-0/0.tar", SHARD)
    write_tar(tmp_path / "part-1/0.tar.gz", [("c/c.jpg", jpeg_of(3))], "w:gz")
    source = ArchiveSource(str(tmp_path))
    assert [source[i].label for i in range(3)] == [1, 0, NO_LABEL]
    assert source.classes == ("0", "1")
    assert [source[i].name for i in range(3)] == [
        "part-0/0.tar:a.jpg",
        "part-0/0.tar:b.jpg",
        "part-1/0.tar.gz:c/c.jpg",
    ]
    assert "1 of 3 images has no label (1: no .cls or .json)" in source.notes
    other = [("a.jpg", jpeg_of(1)), ("a.cls", b"0"), ("b.jpg", jpeg_of(2)), ("b.cls", b"1")]
    write_tar(tmp_path / "part-0/0.tar", other)
    assert ArchiveSource(str(tmp_path)).fingerprint != source.fingerprint


def test_a_set_that_is_packed_anew_keeps_the_names_of_its_classes(tmp_path: Path) -> None:
    """Of the folder, a glob or one tar; a manifest of another tool names none."""
    write_tar(tmp_path / "x.tar", PHOTOS)
    packed = tmp_path / "set"
    pack(open_source(str(tmp_path / "x.tar")), packed, workers=1)
    for spec in (packed, packed / "*.tar", packed / "train-000000.tar"):
        assert open_source(str(spec)).classes == ("cat", "dog")
    (packed / "manifest.json").write_text("{}")
    assert open_source(str(packed)).classes == ("0", "1")


def test_a_glob_may_match_archives_of_several_folders(tmp_path: Path) -> None:
    """Names tell equal ones apart; one that matches nothing is refused, whatever its stars."""
    for folder in "ab":
        write_tar(tmp_path / folder / "x.tar", SHARD[:2])
    source = open_source(f"{tmp_path}/*/x.tar")
    assert source.names == ["a/x.tar:a.jpg", "b/x.tar:a.jpg"]
    for spec in ("no*/x.tar", "**.zip", "a**.tar"):
        with pytest.raises(UsageError, match="not there"):
            open_source(f"{tmp_path}/{spec}")


def test_archives_that_may_be_a_class_each_are_told(tmp_path: Path) -> None:
    """As ImageNet's are; not where there are classes, or one archive."""
    flat = [("n1_0.JPEG", jpeg_of(1)), ("n1_1.JPEG", jpeg_of(2))]
    write_tar(tmp_path / "a/n1.tar", flat)
    assert not any("no image has a class" in n for n in open_source(str(tmp_path / "a")).notes)
    write_tar(tmp_path / "a/n2.tar", flat)
    source = open_source(str(tmp_path / "a"))
    assert sum("no image has a class in these 2 archives" in n for n in source.notes) == 1


def test_a_folder_that_everything_lies_in_is_no_class(tmp_path: Path) -> None:
    """As a zip of a folder has; what lies beside the class folders has no class, and is counted."""
    inside = [(f"photos/{name}", data) for name, data in PHOTOS]
    assert ArchiveSource(str(write_zip(tmp_path / "a.zip", inside))).classes == ("cat", "dog")
    loose = [*inside, ("photos/loose.jpg", jpeg_of(7))]
    source = ArchiveSource(str(write_zip(tmp_path / "b.zip", loose)))
    assert source.classes == ("cat", "dog")
    assert "1 of 7 images has no label (1: beside the class folders)" in source.notes
    one = [("cat/1.jpg", jpeg_of(1)), ("cat/2.jpg", jpeg_of(2))]
    assert ArchiveSource(str(write_zip(tmp_path / "c.zip", one))).classes == ("cat",)
    flat = [("1.jpg", jpeg_of(1)), ("2.jpg", jpeg_of(2))]
    assert ArchiveSource(str(write_zip(tmp_path / "d.zip", flat))).classes == ()


def test_a_path_that_climbs_names_the_class_where_it_ends(tmp_path: Path) -> None:
    """As unpacking has it: `..` is no class, nor is a folder that is left by it."""
    names = ("../1.jpg", "../../cat/2.jpg", "a/../dog/3.jpg", "C:/4.jpg", "/do\ng/5.jpg")
    members = [(name, jpeg_of(n)) for n, name in enumerate(names)]
    for path in (write_tar(tmp_path / "x.tar", members), write_zip(tmp_path / "x.zip", members)):
        source = ArchiveSource(str(path))
        assert source.classes == ("C:", "cat", "do\ng", "dog")
        assert source.labels.tolist() == [NO_LABEL, 1, 3, 0, 2]
        assert images_of(source) == [data for _, data in members]


def test_splits_do_not_become_classes(tmp_path: Path) -> None:
    """Inside an archive, or in the names of several."""
    splits = [(f"set/{s}/{n}", data) for s in ("train", "val") for n, data in PHOTOS]
    path = write_zip(tmp_path / "in/x.zip", splits)
    with pytest.raises(UsageError, match="--split train"):
        ArchiveSource(str(path))
    source = ArchiveSource(str(path), "val")
    assert (len(source), source.classes) == (6, ("cat", "dog"))
    with pytest.raises(UsageError, match="'test'"):
        ArchiveSource(str(path), "test")
    beside = [("train2017/1.jpg", jpeg_of(1)), ("val2017/1.jpg", jpeg_of(2))]
    mixed = [*splits, ("set/docs/logo.png", jpeg_of(3))]
    for name, members, part in (("y", beside, "train2017"), ("z", mixed, "train")):
        path = write_zip(tmp_path / f"in/{name}.zip", members)
        with pytest.raises(UsageError, match=f"--split {part}"):
            ArchiveSource(str(path))
        assert len(ArchiveSource(str(path), part)) == (1 if name == "y" else 6)
    write_tar(tmp_path / "by/train-000.tar", SHARD)
    write_tar(tmp_path / "by/val-000.tar", SHARD[:2])
    assert (
        len(ArchiveSource(str(tmp_path / "by"))),
        ArchiveSource(str(tmp_path / "by")).notes,
    ) == (
        2,
        ("read 1 of 2 archives, train-000.tar first",),
    )
    assert len(ArchiveSource(str(tmp_path / "by"), "val")) == 1


def test_a_sample_of_several_images(tmp_path: Path) -> None:
    """In a tar WebDataset's rule counts, in a zip each image, or what the user says."""
    members = [("p.jpg", jpeg_of(1)), ("p.1.jpg", jpeg_of(2)), ("p.2.jpg", jpeg_of(3))]
    tar, file = write_tar(tmp_path / "a.tar", members), write_zip(tmp_path / "a.zip", members)
    assert images_of(ArchiveSource(str(file))) == [data for _, data in members]
    report = pack(ArchiveSource(str(tar)), tmp_path / "out", workers=1)
    assert report.manifest.num_samples == 1
    assert sorted(item.name for item in report.refused) == ["p.1.jpg", "p.2.jpg"]
    assert len(images_of(ArchiveSource(str(tar), image_key="each"))) == 3
    chosen = ArchiveSource(str(tar), image_key="2.jpg")
    assert images_of(chosen) == [jpeg_of(3)]


def test_members_need_not_be_sorted_and_the_latest_of_a_name_counts(tmp_path: Path) -> None:
    """As `tar -r` leaves them, and as `find` lists them."""
    members = [("a.jpg", jpeg_of(1)), ("b.jpg", jpeg_of(2)), ("a.cls", b"0"), ("b.cls", b"1")]
    source = ArchiveSource(str(write_tar(tmp_path / "a.tar", [*members, ("a.jpg", jpeg_of(9))])))
    assert images_of(source) == [jpeg_of(9), jpeg_of(2)]
    assert [source[i].label for i in range(2)] == [0, 1]


def test_what_others_leave_in_archives(tmp_path: Path) -> None:
    """Hidden files and those of file managers are not seen, other kinds are counted."""
    members = [
        *PHOTOS,
        ("__MACOSX/cat/._0.jpg", b"x"),
        (".DS_Store", b"x"),
        (".hidden/1.jpg", b"x"),
        ("cat/readme.txt", b"x"),
        ("cat/9.HEIC", b"x"),
        ("more.zip", b"PK"),
    ]
    source = ArchiveSource(str(write_zip(tmp_path / "a.zip", members)))
    assert len(source) == 6
    assert source.notes[1:] == (
        "skipped, not read here: 1 .heic; convert them to JPEG or PNG to pack them",
        "skipped, packed: 1 .zip; unpack them, or pack them by their own names",
        "skipped, as no images: 1 .txt",
    )
    windows = [(name.replace("/", "\\"), data) for name, data in PHOTOS]
    assert ArchiveSource(str(write_zip(tmp_path / "b.zip", windows))).classes == ("cat", "dog")


def test_links_are_read_or_refused(tmp_path: Path) -> None:
    """In a tar at their target; in a zip, whose links are texts, not at all."""
    path = tmp_path / "a.tar"
    with tarfile.open(write_tar(path, SHARD), "a") as tar:
        info = tarfile.TarInfo("z.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "a.jpg"
        tar.addfile(info)
    assert images_of(ArchiveSource(str(path)))[2] == jpeg_of(1)
    file = write_zip(tmp_path / "a.zip", SHARD[:1])
    with zipfile.ZipFile(file, "a") as archive:
        entry = zipfile.ZipInfo("z.jpg")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "a.jpg")
    with pytest.raises(ImageError, match="symbolic link, which is not followed in a zip"):
        ArchiveSource(str(file))[1].load()


def test_a_folder_of_images_stays_one(tmp_path: Path) -> None:
    """An archive beside photographs is named, not read."""
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.jpg").write_bytes(jpeg_of(1))
    write_zip(tmp_path / "more.zip", PHOTOS)
    source = open_source(str(tmp_path))
    assert source.kind == "folder"
    assert source.notes == (
        "skipped, packed: 1 .zip; unpack them, or pack them by their own names",
    )


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.zip"])
def test_a_torn_archive_is_one_line(tmp_path: Path, name: str) -> None:
    """Cut in the middle, wherever that is, and empty."""
    path = tmp_path / name
    (write_zip if name == "x.zip" else write_tar)(
        path, PHOTOS, *([KINDS[name]] if name in KINDS else [])
    )
    data = path.read_bytes()
    for size in (0, 10, len(data) // 2, len(data) * 9 // 10):
        path.write_bytes(data[:size])
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            ArchiveSource(str(path))


def test_a_damaged_member_is_one_bad_image(tmp_path: Path) -> None:
    """A zip tells by its checksum."""
    path = write_zip(tmp_path / "x.zip", PHOTOS, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[200] ^= 255
    path.write_bytes(data)
    report = pack(ArchiveSource(str(path)), tmp_path / "out", workers=1)
    assert [item.name for item in report.refused] == ["cat/0.jpg"]
    assert "cannot be read from its zip" in report.refused[0].reason


@pytest.mark.parametrize(
    ("start", "kind"), [(b"\x28\xb5\x2f\xfd", "zstd"), (b"7z\xbc\xaf", "7z"), (b"Rar!", "rar")]
)
def test_other_archives_are_named(tmp_path: Path, start: bytes, kind: str) -> None:
    """With what to do."""
    (tmp_path / "x.tar.zst").write_bytes(start + b"more")
    with pytest.raises(UsageError, match=rf"\({kind}\); unpack it into a folder"):
        open_source(str(tmp_path / "x.tar.zst"))


def test_an_archive_without_images_says_what_it_holds(tmp_path: Path) -> None:
    """Archives inside an archive are not looked into."""
    path = write_tar(tmp_path / "x.tar", [("n01.tar", b"x"), ("n02.tar", b"x")])
    with pytest.raises(UsageError, match=r"got 2 \.tar in .*unpack archives that lie inside"):
        ArchiveSource(str(path))


def test_bombs_are_refused_while_they_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all kinds, and nothing of them stays on the disk."""
    monkeypatch.setattr(unpack, "_MIN_LIMIT_BYTES", 1 << 20)
    zeros = bytes(64 << 20)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(zeros))
    (tmp_path / "a.tar.xz").write_bytes(lzma.compress(zeros))
    write_zip(tmp_path / "a.zip", [("a.png", zeros)])
    before = sorted(os.listdir(tmp_path))
    for name in before:
        with pytest.raises(DataError, match="unpacks to at most 100 times its bytes"):
            ArchiveSource(str(tmp_path / name), scratch=tmp_path)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_said(tmp_path: Path) -> None:
    """Its directory says 10 bytes, its data unpacks to 64 MiB: 10 are read, and are wrong."""
    path = write_zip(tmp_path / "a.zip", [("a.png", bytes(64 << 20)), ("b.jpg", jpeg_of(1))])
    said = (64 << 20).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(said, (10).to_bytes(4, "little")))
    source = ArchiveSource(str(path))
    with pytest.raises(ImageError, match="cannot be read from its zip"):
        source[0].load()
    assert source[1].load() == jpeg_of(1)


def test_a_large_member_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused by its size, unread, from every kind of archive."""
    monkeypatch.setattr(archives, "_MAX_MEMBER_BYTES", 10)
    write_tar(tmp_path / "a.tar", SHARD[:1])
    write_tar(tmp_path / "a.tar.gz", SHARD[:1], "w:gz")
    write_zip(tmp_path / "a.zip", SHARD[:1])
    for name in ("a.tar", "a.tar.gz", "a.zip"):
        with pytest.raises(ImageError, match="over 10 bytes"):
            ArchiveSource(str(tmp_path / name))[0].load()


@pytest.mark.slow
def test_workers_read_what_this_process_reads(tmp_path: Path) -> None:
    """From every kind of archive the same bytes, with one process or three."""
    write_tar(tmp_path / "in/a.tar", PHOTOS)
    write_tar(tmp_path / "in/b.tar.gz", PHOTOS, "w:gz")
    write_zip(tmp_path / "in/c.zip", PHOTOS)
    one = pack(ArchiveSource(str(tmp_path / "in")), tmp_path / "one", workers=1)
    three = pack(ArchiveSource(str(tmp_path / "in")), tmp_path / "three", workers=3)
    assert one.manifest.num_samples == 18
    assert one.manifest.shards == three.manifest.shards
    names = [
        json.loads(line) for line in (tmp_path / "one/manifest.json").read_text().split("\n\n")
    ]
    assert names[0]["made"]["kind"] == "archive"
