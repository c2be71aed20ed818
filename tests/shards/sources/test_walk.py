"""The walk through a folder that a user named: links, circles, what systems leave there."""

import os
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from pictures import jpeg_of

from shards.errors import DataError, UsageError
from shards.sources.detect import open_source
from shards.sources.folder import FolderSource
from shards.sources.walk import SYSTEM_FOLDERS, walk_files


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def walked(root: Path) -> list[str]:
    return sorted(name for name, _ in walk_files(root))


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    """Two folders that link to each other, to all around them and to themselves end."""
    root = make(tmp_path / "root", "cat/1.jpg", "dog/2.jpg")
    make(tmp_path / "elsewhere", "3.jpg")
    for link, target in (
        *(("cat/more", "../../elsewhere"), ("cat/sib", "../dog"), ("dog/sib", "../cat")),
        *(("dog/up", ".."), ("dog/far", "../.."), ("cat/self", "self")),
    ):
        (root / link).symlink_to(target)
    assert walked(root) == [
        *("cat/1.jpg", "cat/more/3.jpg", "cat/self", "cat/sib/2.jpg"),
        *("dog/2.jpg", "dog/sib/1.jpg", "dog/sib/more/3.jpg", "dog/sib/self"),
    ]


def test_folders_of_a_system_are_no_classes(tmp_path: Path) -> None:
    """Thumbnails and bins are left out at any depth, and said."""
    junk = [f"{where}{name}/1.jpg" for name in SYSTEM_FOLDERS for where in ("", "cat/")]
    source = FolderSource(make(tmp_path, "cat/1.jpg", "dog/1.jpg", ".hidden/1.jpg", *junk))
    assert source.classes == ("cat", "dog")
    assert source.names == ["cat/1.jpg", "dog/1.jpg"]
    (note,) = source.notes
    assert note.startswith("not looked into, as folders that a system makes for itself: 2 #recycle")


def test_a_pipe_is_never_read(tmp_path: Path) -> None:
    """Reading one waits for ever; it is counted instead."""
    make(tmp_path, "cat/1.jpg")
    os.mkfifo(tmp_path / "cat" / "2.jpg")
    source = FolderSource(tmp_path)
    assert source.names == ["cat/1.jpg"]
    assert source.notes == ("skipped, as no images: 1 pipes or devices",)


def test_what_is_told_apart_is_what_is_read(tmp_path: Path) -> None:
    """Class folders that are links make a folder of images, also beside an archive."""
    make(tmp_path / "far", "cat/1.jpg", "dog/1.jpg")
    root = make(tmp_path / "root", "backup.zip")
    for name in ("cat", "dog"):
        (root / name).symlink_to(tmp_path / "far" / name)
    source = open_source(str(root))
    assert (source.kind, source.classes) == ("folder", ("cat", "dog"))


def test_images_beside_tars_are_counted(tmp_path: Path) -> None:
    """Where the tars are packed, the images beside them are said to stay out."""
    root = make(tmp_path / "root", "cat/1.jpg", "dog/2.JPG", "dog/readme.txt")
    (tmp_path / "p.jpg").write_bytes(jpeg_of(1))
    with tarfile.open(root / "backup.tar", "w") as tar:
        tar.add(tmp_path / "p.jpg", "a/1.jpg")
    source = open_source(str(root))
    assert (source.kind, len(source)) == ("archive", 1)
    assert source.notes[-1] == (
        f"2 images lie beside the archives of {root} and stay out, cat/1.jpg first; move the "
        f"archives elsewhere to pack them"
    )


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a line, whoever looks first."""
    make(tmp_path, "cat/1.jpg", "dog/1.jpg")
    real = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"readable, got .*dog \(Permission denied\)"):
        open_source(str(tmp_path))


def test_folders_of_systems_are_counted_by_name(tmp_path: Path) -> None:
    """For whoever asks."""
    left_out: Counter[str] = Counter()
    assert not list(walk_files(make(tmp_path, "@eaDir/1.jpg", "a/@eaDir/2.jpg"), left_out))
    assert left_out == {"@eaDir": 2}
    with pytest.raises(UsageError, match="no file at all"):
        FolderSource(tmp_path)
