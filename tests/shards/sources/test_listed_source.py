"""Sources under lists: classes from a file, files from a file, every mismatch counted."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL
from shards.sources.detect import open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images, two and two; their names are their content."""
    for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(name.encode())
    return tmp_path / "set"


def write(folder: Path, text: str) -> Path:
    (folder.parent / "list.csv").write_text(text)
    return folder.parent / "list.csv"


def test_labels_take_the_place_of_folders(folder: Path) -> None:
    """Names become classes in sorted order, and the samples stay what they were."""
    labels = write(folder, "1,y\n2,x\n3,x\n4,y\n")
    source = open_source(str(folder), labels=labels)
    assert source.classes == ("x", "y")
    samples = [source[i] for i in range(4)]
    assert [sample.label for sample in samples] == [1, 0, 0, 1] == source.labels.tolist()
    assert samples[1].load() == b"a/2.jpg"
    assert source.notes == (f"classes from {labels}, column 2",)
    assert source.fingerprint != open_source(str(folder)).fingerprint


def test_class_numbers_stay_as_they_are(folder: Path) -> None:
    """A CSV of numbers gives those numbers."""
    source = open_source(str(folder), labels=write(folder, "file,y\n1,3\n2,0\n3,1\n4,3\n"))
    assert source.labels.tolist() == [3, 0, 1, 3]
    assert source.classes == ("0", "1", "2", "3")


def test_mismatches_are_counted_and_said(folder: Path) -> None:
    """Lines without an image, images without a line, lines without a class."""
    labels = write(folder, "1,y\n2,\n9,x\n8,x\n")
    source = open_source(str(folder), labels=labels)
    assert source.labels.tolist() == [0, NO_LABEL, NO_LABEL, NO_LABEL]
    assert source.notes[1:] == (
        "3 of 4 images have no label (2: not in list.csv; 1: an empty text)",
        f"2 of 4 lines of {labels} name no image here, '9' (line 3) first",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,x\n2,x\n1,y\n", "got another one in 1 of the lines that repeat a name: a/1.jpg in"),
        ("x,y\nz,y\n", "got none of 4"),
        ("1\n2\n", "names alone"),
        ("1,\n2,\n", "got none in"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(folder: Path, text: str, said: str) -> None:
    """An image of two classes, no image at all, no classes."""
    with pytest.raises(UsageError, match="--labels") as refused:
        open_source(str(folder), labels=write(folder, text))
    assert said in str(refused.value)


def test_files_are_those_that_a_list_names(folder: Path) -> None:
    """Each once, in the source's own order, with the classes of all."""
    files = write(folder, "b/4.jpg\na/1.jpg\nb/4.jpg\n")
    source = open_source(str(folder), files=files)
    assert [source[i].name for i in range(len(source))] == ["a/1.jpg", "b/4.jpg"]
    assert source.names == ["a/1.jpg", "b/4.jpg"]
    assert (source.classes, source.labels.tolist()) == (("a", "b"), [0, 1])
    assert source.notes == (
        f"{files}: it names 2 of 4 images; the others stay out",
        f"{files}: 1 lines repeat a name; each image is packed once",
    )


def test_missing_files_are_refused_with_their_count(folder: Path) -> None:
    """One line, the first of them by name."""
    with pytest.raises(UsageError, match=r"got 2 of 3 that are not there, 'c/9.jpg' \(line 2\)"):
        open_source(str(folder), files=write(folder, "1\nc/9.jpg\n8\n"))


def test_both_lists_work_on_a_zip(folder: Path) -> None:
    """Files with names are files wherever they lie."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for path in sorted(folder.rglob("*.jpg")):
            file.write(path, f"pack/{path.relative_to(folder)}")
        file.writestr("pack/loose.jpg", b"x")
    (folder.parent / "set.zip").write_bytes(data.getvalue())
    lists = write(folder, "1,x\n4,y\n")
    source = open_source(str(folder.parent / "set.zip"), files=lists, labels=lists)
    assert source.labels.tolist() == [0, 1]
    assert source[1].label == 1
    assert not [note for note in source.notes if "beside the class folders" in note]
    assert np.array_equal(source.labels, [source[i].label for i in range(2)])


def test_a_source_without_names_has_no_use_for_lists(folder: Path) -> None:
    """Rows of an array have no names that a list could give."""
    with pytest.raises(UsageError, match="source of kind demo"):
        open_source("demo", labels=write(folder, "1,x\n"))


def test_a_class_for_nearly_each_image_is_told(folder: Path) -> None:
    """As when a column of sizes is taken for the classes."""
    source = open_source(str(folder), labels=write(folder, "1,a 3\n2,b 4\n3,b 5\n4,c\n"))
    assert "there are 4 classes for 4 images" in source.notes[1]


def test_a_class_in_another_encoding_is_refused(folder: Path) -> None:
    """Its letters would become one sign, and two classes one; names of files may be any bytes."""
    labels = folder.parent / "list.csv"
    labels.write_bytes("file,label\n1,café\n2,cafè\n3,x\n4,x\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"UTF-8, got a class in another encoding in line 2 of"):
        open_source(str(folder), labels=labels)
    assert len(open_source(str(folder), files=labels)) == 4


@pytest.mark.parametrize(
    "text",
    ['{"file_name": "1.jpg", "label": "x"}\n{"file_name": "2.jpg", "label": "y"}\n', '["1.jpg"]'],
)
def test_json_is_no_list_and_says_what_is(folder: Path, text: str) -> None:
    """As a list of names and as one of classes, by what is in it."""
    for option in ("files", "labels"):
        with pytest.raises(UsageError, match=r"got JSON in .*; save it as CSV"):
            open_source(str(folder), **{option: write(folder, text)})


def test_a_line_that_says_the_same_again_is_counted(folder: Path) -> None:
    """Joined tables have them; only another class for the same image is refused."""
    source = open_source(str(folder), labels=write(folder, "1,y\n2,x\n3,x\n4,y\n1,y\n"))
    assert source.labels.tolist() == [1, 0, 0, 1]
    assert source.notes[1:] == ("1 of 5 lines repeat a name and its class",)


def test_a_column_a_class_is_read(folder: Path) -> None:
    """One of the columns is 1 in each line, and its title is the class; else the rule holds."""
    table = "image,MEL,NV,BCC\n1,0.0,1.0,0.0\n2,1.0,0.0,0.0\n3,0.0,1.0,0.0\n4,0.0,0.0,1.0\n"
    source = open_source(str(folder), labels=write(folder, table))
    assert source.classes == ("BCC", "MEL", "NV")
    assert source.labels.tolist() == [2, 1, 2, 0]
    assert source.notes[0].endswith(
        "the titles of 3 columns, MEL first, one of them 1 in each line"
    )
    asked = open_source(str(folder), labels=write(folder, table), label_column="NV")
    assert asked.labels.tolist() == [1, 0, 1, 0]
    several = table.replace("2,1.0,0.0", "2,1.0,1.0")
    assert open_source(str(folder), labels=write(folder, several)).classes == ("0", "1")
