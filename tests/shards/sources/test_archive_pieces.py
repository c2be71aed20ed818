"""Archives as people get them: pieces, locked zips, names that return, folders of systems."""

import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from pictures import jpeg_of

from shards.errors import UsageError
from shards.packing.pack import pack
from shards.sources.archive import ArchiveSource
from shards.sources.detect import open_source

PHOTOS = [
    (f"{c}/{k}.jpg", jpeg_of(10 * n + k)) for n, c in enumerate(("cat", "dog")) for k in range(3)
]
Members = list[tuple[str, bytes]]


def write_tar(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    return path


def write_zip(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_names_that_return_are_counted(tmp_path: Path) -> None:
    """The later member counts, as when it is unpacked, and the earlier ones are said."""
    again = [("cat/0.jpg", jpeg_of(99)), ("cat/1.jpg", jpeg_of(98)), ("cat/0.jpg", jpeg_of(97))]
    source = ArchiveSource(str(write_tar(tmp_path / "x.tar", [*PHOTOS, *again])))
    assert len(source) == len(PHOTOS)
    assert jpeg_of(97) in [source[number].load() for number in range(len(source))]
    assert source.notes[1] == (
        "3 members are replaced by a later one of the same name, as unpacking would, cat/0.jpg "
        "first"
    )


@pytest.mark.parametrize(
    ("at", "value", "told"),
    [
        (8, 1, "encrypted: unpack the zip with its password, and give the folder"),
        (10, 9, "compressed by Deflate64, which is not read here: unpack the zip"),
        (10, 77, "compressed by method 77, which is not read here: unpack the zip"),
    ],
)
def test_members_of_a_zip_that_nobody_reads_here_say_what_to_do(
    tmp_path: Path, at: int, value: int, told: str
) -> None:
    """Locked ones, and those of other methods; the others of the zip are packed."""
    path = write_zip(tmp_path / "x.zip", PHOTOS)
    content = bytearray(path.read_bytes())
    content[content.rfind(b"PK\x01\x02") + at] = value  # of the last member, in the directory
    path.write_bytes(content)
    report = pack(ArchiveSource(str(path)), tmp_path / "out", workers=1)
    assert report.manifest.num_samples == len(PHOTOS) - 1
    assert [item.name for item in report.refused] == ["dog/2.jpg"]
    assert report.refused[0].reason.startswith(told)


@pytest.mark.parametrize("name", ["x.zip.001", "x.tar.gz.aa", "x.tar.part1", "x.TGZ.02"])
def test_a_piece_of_an_archive_says_how_to_join(tmp_path: Path, name: str) -> None:
    """Fetching it again would not help."""
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04")
    whole = name.rpartition(".")[0]
    with pytest.raises(UsageError, match=rf"join them \(cat {whole}\.\* > {whole}\)"):
        open_source(str(path))


def test_the_last_piece_of_a_split_zip_says_how_to_join(tmp_path: Path) -> None:
    """It is called as the whole one, and its other pieces lie beside it."""
    path = write_zip(tmp_path / "x.zip", PHOTOS)
    (tmp_path / "x.z01").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"zip -s 0 x\.zip --out x-whole\.zip"):
        open_source(str(path))


def test_folders_of_a_system_are_no_classes_in_an_archive_either(tmp_path: Path) -> None:
    """They are left out and counted; hidden names in them are not seen, as anywhere."""
    junk = [("@eaDir/0.jpg/THUMB.jpg", jpeg_of(1)), ("__MACOSX/cat/._0.jpg", b"")]
    source = ArchiveSource(str(write_zip(tmp_path / "x.zip", [*PHOTOS, *junk])))
    assert (len(source), source.classes) == (len(PHOTOS), ("cat", "dog"))
    assert source.notes[1:] == ("skipped, as no images: 1 in @eaDir",)
