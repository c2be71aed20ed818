"""Lists of images as people write them: separators, titles, paths; every line is accounted for."""

import unicodedata
from pathlib import Path

import pytest

from shards.errors import DataError, UsageError
from shards.sources.image_lists import NameTable, read_list

NAMES = ["images/a b.jpg", "images/c.png", "images/d.v2.jpg", "more/e.jpg"]


def read(
    folder: Path, text: str, names: list[str] = NAMES, label_column: str | None = None
) -> list[tuple[int | None, str | None]]:
    (folder / "list.csv").write_bytes(text.encode())
    listed = read_list(folder / "list.csv", NameTable(names), label_column)
    return [(line.image, line.label) for line in listed.lines]


@pytest.mark.parametrize(
    "text",
    [
        "images/a b.jpg,cat\nimages/c.png,dog\n",
        "filename,label\na b.jpg,cat\nc.png,dog\n",
        "a b;cat\nc;dog\n",
        "a b.jpg\tcat\t3\t4\r\nc.png\tdog\t5\t6\r\n",
        "\ufeffimage,width,class\n/old/images/a b.jpg,3,cat\n/old/images/c.png,4,dog\n",
        "label,path\ncat,.\\images\\a b.jpg\ndog,.\\images\\c.png\n",
        '"a b.jpg","cat"\n"c.png","dog"\n',
        "a b.jpg cat\nc.png dog\n",
        "sep=;\nfile;width;class\na b.jpg;3;cat\nc.png;4;dog\n",
        "# made by hand\n\n,file,label\n0,a b.jpg,cat\n1,c.png,dog\n",
    ],
)
def test_every_way_of_writing_says_the_same(tmp_path: Path, text: str) -> None:
    """Commas, semicolons, tabs, blanks; with titles and without; a path, its end, no ending."""
    assert read(tmp_path, text) == [(0, "cat"), (1, "dog")]


def test_row_numbers_are_no_names(tmp_path: Path) -> None:
    """Where images are called by numbers, the column with endings is that of the names."""
    text = "0,1.jpg,x\n1,0.jpg,y\n"
    assert read(tmp_path, text, ["0.jpg", "1.jpg"]) == [(1, "x"), (0, "y")]


def test_a_cell_may_have_several_lines(tmp_path: Path) -> None:
    """As captions in quotes have; a quote that nothing ends is one of its line."""
    text = 'file,caption,class\nc.png,"one ""1""\n\ntwo, three",cat\n"a b.jpg","x,",dog\n'
    assert read(tmp_path, text) == [(1, "cat"), (0, "dog")]
    assert read(tmp_path, "c.png,one\u2028two,cat\ra b.jpg,x,dog\r", label_column="3") == [
        (1, "cat"),
        (0, "dog"),
    ]
    assert read(tmp_path, '#,"\nc.png,cat\n#"\na b.jpg,dog\n') == [(1, "cat"), (0, "dog")]
    assert read(tmp_path, 'c.png,"cat\na b.jpg,5" dog\n') == [(1, "cat"), (0, '5" dog')]


def test_accents_are_written_in_two_ways(tmp_path: Path) -> None:
    """A list from Excel names the files of macOS; of two that differ in that alone, its own."""
    composed, apart = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    for written in (composed, apart):
        assert read(tmp_path, f"x/{written},a\n", [f"x/{apart}"]) == [(0, "a")]
        both = [f"x/{apart}", f"x/{composed}"]
        assert read(tmp_path, f"x/{written},a\n", both) == [(both.index(f"x/{written}"), "a")]


def test_class_numbers_are_no_names(tmp_path: Path) -> None:
    """Where images are called by numbers, the column that names most of them has the names."""
    names = [f"{number}.jpg" for number in range(6)]
    text = "".join(f"{number % 2},{number}\n" for number in range(7))  # the last is not there
    assert read(tmp_path, text, names)[:4] == [(0, "0"), (1, "1"), (2, "0"), (3, "1")]


def test_names_alone_have_no_labels(tmp_path: Path) -> None:
    """A dot in a name is no ending, a blank no separator."""
    assert read(tmp_path, "a b\nd.v2\nmore/e\n") == [(0, None), (2, None), (3, None)]


def test_a_line_for_no_image_is_kept_as_such(tmp_path: Path) -> None:
    """Also the first one, when it is no title."""
    assert read(tmp_path, "gone.jpg,x\nc.png,y\n") == [(None, "x"), (1, "y")]
    assert read(tmp_path, "other/c.png,x\ne.png,y\na b.jpg,z\n") == [
        *((None, "x"), (None, "y"), (0, "z"))
    ]


def test_a_line_for_several_images_is_refused(tmp_path: Path) -> None:
    """More of the path decides; so does the ending."""
    names = ["a/1.jpg", "b/1.jpg", "b/2.jpg", "b/2.png"]
    for text in ("1.jpg,x\n", "2,x\n"):
        with pytest.raises(UsageError, match=r"one image.*line 1 of"):
            read(tmp_path, text, names)
    assert read(tmp_path, "b/1,x\n2.png,y\n", names) == [(1, "x"), (3, "y")]


@pytest.mark.parametrize(("data", "said"), [(b"\0a\0", "UTF-8"), (b"\n#\n", "none")])
def test_what_is_no_list_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    """Another encoding, and a file without a line."""
    (tmp_path / "list").write_bytes(data)
    with pytest.raises(DataError, match=said):
        read_list(tmp_path / "list", NameTable(NAMES))


def test_a_column_can_be_named(tmp_path: Path) -> None:
    """By its title or its number; without, known titles win over places."""
    (tmp_path / "list.csv").write_text("ImageId,Width,Kind of\nc.png,3,cat\nmore/e.jpg,4,dog\n")
    table = NameTable(NAMES)
    for asked in ("Kind of", "3"):
        listed = read_list(tmp_path / "list.csv", table, asked)
        assert [line.label for line in listed.lines] == ["cat", "dog"]
        assert listed.label_column == "column 3 (Kind of)"
    assert [x.label for x in read_list(tmp_path / "list.csv", table).lines] == ["3", "4"]
    for asked in ("kinds", "0", "4"):
        with pytest.raises(UsageError, match=r"a number from 1 to 3.*ImageId, Width, Kind of"):
            read_list(tmp_path / "list.csv", table, asked)
