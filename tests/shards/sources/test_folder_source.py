"""A folder of images: classes, order, what is skipped, what is refused."""

import os
from pathlib import Path

import pytest

from shards.errors import UsageError
from shards.format import NO_LABEL
from shards.sources.folder import FolderSource


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_the_first_folder_level_is_the_class(tmp_path: Path) -> None:
    """Classes and files are sorted; deeper folders only add to the name."""
    source = FolderSource(make(tmp_path, "dog/2.JPG", "cat/x/1.png", "dog/1.webp", "cat/0.gif"))
    samples = [source[i] for i in range(len(source))]
    assert source.classes == ("cat", "dog")
    assert [sample.name for sample in samples] == [
        "cat/0.gif",
        "cat/x/1.png",
        "dog/1.webp",
        "dog/2.JPG",
    ]
    assert [sample.label for sample in samples] == [0, 0, 1, 1]
    assert samples[3].load() == b"dog/2.JPG"


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    """No class folder, no class."""
    source = FolderSource(make(tmp_path, "b.jpg", "a.jpg"))
    assert source.classes == ()
    assert [source[i].label for i in range(2)] == [NO_LABEL, NO_LABEL]


def test_other_files_are_counted_and_hidden_ones_are_not_seen(tmp_path: Path) -> None:
    """Nothing with a name is skipped in silence."""
    source = FolderSource(make(tmp_path, "a/1.jpg", "a/x.txt", "a/README", "a/.1.jpg", ".b/2.jpg"))
    assert len(source) == 1
    assert source.classes == ("a",)
    assert source.notes == ("skipped, as no images: 1 .txt, 1 without an ending",)


def test_photographs_of_other_formats_are_not_called_no_images(tmp_path: Path) -> None:
    """Who has HEIC or raw files learns it first, with what to do; of many kinds a few are named."""
    names = ["1.jpg", "2.HEIC", "3.heic", "4.dng", *(f"x.{letter}" for letter in "abcdef")]
    assert FolderSource(make(tmp_path, *names)).notes == (
        "skipped, not read here: 2 .heic, 1 .dng; convert them to JPEG or PNG to pack them",
        "skipped, as no images: 1 .a, 1 .b, 1 .c, 1 .d, 2 others",
    )


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    """Class folders are often links; a link to a parent ends there."""
    make(tmp_path, "elsewhere/1.jpg", "data/a/0.jpg")
    os.symlink(tmp_path / "elsewhere", tmp_path / "data/b")
    os.symlink(tmp_path / "data", tmp_path / "data/a/loop")
    source = FolderSource(tmp_path / "data")
    assert [source[i].name for i in range(len(source))] == ["a/0.jpg", "b/1.jpg"]


def test_a_link_to_nothing_fails_when_it_is_read(tmp_path: Path) -> None:
    """It is one bad image by name, not the end of the run."""
    make(tmp_path, "1.jpg")
    os.symlink(tmp_path / "gone", tmp_path / "0.jpg")
    source = FolderSource(tmp_path)
    with pytest.raises(FileNotFoundError):
        source[0].load()


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    """The same files elsewhere are the same source; another file, name or size is not."""
    first = FolderSource(make(tmp_path / "1", "a/1.jpg", "a/2.jpg")).fingerprint
    assert FolderSource(make(tmp_path / "2", "a/1.jpg", "a/2.jpg")).fingerprint == first
    assert FolderSource(make(tmp_path / "1", "a/3.jpg")).fingerprint != first
    assert FolderSource(make(tmp_path / "3", "a/1.jpg", "b/2.jpg")).fingerprint != first
    (tmp_path / "2/a/2.jpg").write_bytes(b"longer than before")
    assert FolderSource(tmp_path / "2").fingerprint != first


def test_splits_do_not_become_classes(tmp_path: Path) -> None:
    """A folder of train/ and val/ asks which; --split picks."""
    make(tmp_path, "train/a/1.jpg", "val/a/2.jpg", "val/b/3.jpg", ".cache/4.jpg")
    with pytest.raises(UsageError, match="--split train"):
        FolderSource(tmp_path)
    source = FolderSource(tmp_path, "val")
    assert source.classes == ("a", "b")
    assert source[0].name == "a/2.jpg"
    with pytest.raises(UsageError, match=r"'test', and .* has train, val;"):
        FolderSource(tmp_path, "test")


@pytest.mark.parametrize(
    ("names", "message"),
    [((), "no file at all"), (("a/1.txt",), "only 1 .txt"), (("a/1.jpg", "2.jpg"), "both 2.jpg")],
)
def test_wrong_folders_are_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    """Empty, without images, loose images beside class folders."""
    with pytest.raises(UsageError, match=message):
        FolderSource(make(tmp_path, *names))


def test_names_that_are_no_text_are_kept_printable(tmp_path: Path) -> None:
    """File names may be any bytes; messages and metadata may not."""
    path = os.fsencode(tmp_path) + b"/\xff.jpg"
    try:
        Path(os.fsdecode(path)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only text")
    sample = FolderSource(tmp_path)[0]
    assert sample.name.encode().decode() == "�.jpg"
    assert sample.load() == b"x"
