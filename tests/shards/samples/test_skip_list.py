"""Skip lists: written by a program or a person, read alike, and refused when they are no list."""

from pathlib import Path

import pytest

from shards.errors import DataError, UsageError
from shards.samples.skip_list import read_skip_list, skip_list_text


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Names with blanks, hashes and dots; one that is no line of text goes by its key."""
    names = ["a b/c 1.jpg", "#1.jpg", "./x.jpg", "two\nlines.jpg", "tab\t.jpg", "ä.png"]
    keys = [f"{i:06d}" for i in range(6)]
    path = tmp_path / "skip.txt"
    path.write_text(skip_list_text(names, keys, range(10, 16), "f00d"), encoding="utf-8")
    skip = read_skip_list(path)
    assert skip.fingerprint == "f00d"
    assert [line.name for line in skip.lines] == [
        *("a b/c 1.jpg", "#1.jpg", "./x.jpg", "000003", "000004", "ä.png"),
    ]
    assert [line.id for line in skip.lines] == list(range(10, 16))


def test_a_person_may_write_names_alone(tmp_path: Path) -> None:
    """Comments, empty lines and the ends of lines of another system are passed over."""
    path = tmp_path / "skip.txt"
    path.write_bytes(b"\xef\xbb\xbf# mine\r\n\r\ncats/1.jpg\r\n2.jpg")
    skip = read_skip_list(path)
    found = [(line.number, line.name, line.id) for line in skip.lines]
    assert found == [(3, "cats/1.jpg", None), (4, "2.jpg", None)]
    assert skip.fingerprint == ""


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"\xff\xd8\xff\xe0", "is a text in UTF-8"),
        (b"a\0b", "with a line an image"),
        (b"# nothing\n", "has a line an image, got none"),
        (b"a.jpg\tdog\n", "a name, a tab and a number, got 'a.jpg"),
    ],
)
def test_what_is_no_list_is_refused(content: bytes, part: str, tmp_path: Path) -> None:
    """The rule and the line."""
    path = tmp_path / "skip.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=part):
        read_skip_list(path)


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Neither is a folder one."""
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UsageError, match="a skip list is a file that can be read"):
            read_skip_list(path)
