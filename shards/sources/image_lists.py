"""Text files that name images, and what stands beside each name: CSV, TSV, or words with blanks.

Nobody says how such a file is made, so the images tell: its separator and its column of names are
those under which most lines name an image. A name is a path or its end, with an ending or without,
so that `val_0.JPEG`, `images/val_0.JPEG`, `/old/disk/images/val_0.JPEG` and `val_0` all mean one.
"""

import csv
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.errors import UsageError
from shards.samples.image_header import IMAGE_ENDINGS
from shards.sources.list_lines import read_lines

_SAMPLED_LINES = 256  # by which separator and columns are chosen
# Titles in small letters, and nothing else of them.
_NAME_WORDS = frozenset("file filename filepath id image imageid imagename img name path".split())
_LABEL_WORDS = tuple(
    "label class classname category target species breed labelname labels classes classid classidx "
    "categoryid labelid y".split()
)
_ONES, _ZEROS = frozenset(("1", "1.0")), frozenset(("0", "0.0"))
_Cells = list[str]


@dataclass(frozen=True, slots=True)
class ListedLine:
    """A line of a list."""

    number: int  # in the file, from 1
    name: str  # as it is written
    image: int | None  # which image it names, None for none
    label: str | None  # what stands beside the name; None where nothing does


@dataclass(frozen=True, slots=True)
class ImageList:
    """A list that was read."""

    path: Path
    lines: tuple[ListedLine, ...]
    label_column: str  # in words, empty where there is none


class NameTable:
    """Finds images by what people write for their names."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        for number, name in enumerate(names):
            self._by_stem[_stem(_plain_parts(name)[-1])].append(number)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, written: str) -> list[int]:
        """The images that a text may mean: none, one, or several of equal names."""
        asked = _plain_parts(written)
        if not asked:
            return []
        found = [n for n in self._by_stem.get(_stem(asked[-1]), ()) if self._agrees(n, asked)]
        # a.jpg beside a.png, or a folder inside another one of the same name; then one name whose
        # accents are written in two ways.
        for form in (_plain_parts, _parts):
            if len(found) > 1:
                found = [n for n in found if form(self._names[n]) == form(written)] or found
        return found

    def name(self, number: int) -> str:
        """An image's own name."""
        return self._names[number]

    def _agrees(self, number: int, asked: list[str]) -> bool:
        own = _plain_parts(self._names[number])
        if _has_ending(asked[-1]) and not own[-1].endswith(asked[-1]):
            return False
        return all(a == b for a, b in zip(own[-2::-1], asked[-2::-1], strict=False))


def read_list(path: Path, table: NameTable, label_column: str | None = None) -> ImageList:
    """Read a list of images, with what stands beside them.

    Args:
        path: of the list.
        table: the images.
        label_column: the title or the number, from 1, of the column to take; None finds it.

    Raises:
        UsageError: no such file or column, or a line that names several images.
        DataError: it is no text.
    """
    numbered = read_lines(path)
    split, column = _best_way(numbered, table)
    rows = [(number, split(line)) for number, line in numbered]
    header = rows.pop(0)[1] if _has_header(rows, column, table, label_column) else None
    width = max((len(cells) for _, cells in rows), default=0)
    beside = _label_column(column, width, header)
    if label_column is not None:
        beside = _asked_column(path, label_column, width, header)
    hot = [] if label_column is not None else _one_hot(rows, column, header)
    lines = []
    for number, cells in rows:
        name = cells[column].strip() if column < len(cells) else ""
        label = None
        if beside is not None:
            label = cells[beside].strip() if beside < len(cells) else ""
        if hot:
            label = next(title for at, title in hot if cells[at].strip() in _ONES)
        lines.append(ListedLine(number, name, _one(path, number, name, table), label))
    told = "" if beside is None else f"column {beside + 1}"
    if beside is not None and header and beside < len(header):
        told += f" ({header[beside].strip()})"
    if hot:
        told = f"the titles of {len(hot)} columns, {hot[0][1]} first, one of them 1 in each line"
    return ImageList(path, tuple(lines), told)


def _best_way(
    numbered: list[tuple[int, str]], table: NameTable
) -> tuple[Callable[[str], _Cells], int]:
    """The separator of a line, and the column that names the images."""
    step = max(1, len(numbered) // _SAMPLED_LINES)
    sample = [line for _, line in numbered[::step]]
    best, best_score = (_whole, 0), (0, 0)
    for split in (_by("\t"), _by(","), _by(";"), str.split, _last_word_apart, _whole):
        rows = [split(line) for line in sample]
        width = max(map(len, rows))
        # A whole line may end as a path does, so it comes last.
        for column in range(width if width > 1 or split is _whole else 0):
            cells = [row[column].strip() for row in rows if column < len(row)]
            named = [cell for cell in cells if table.find(cell)]
            # Columns of class or row numbers may look like names: classes return, and of two
            # that do not, an ending decides.
            score = len(set(named)), sum(map(_has_ending, named))
            if score > best_score:
                best, best_score = (split, column), score
    return best


def _whole(line: str) -> _Cells:
    return [line.strip()]


def _by(separator: str) -> Callable[[str], _Cells]:
    # A reader for each line is slow, and few lines have quotes.
    return lambda line: (
        next(csv.reader([line], delimiter=separator), []) if '"' in line else line.split(separator)
    )


def _last_word_apart(line: str) -> _Cells:
    """Names with blanks in them, and a class without."""
    return line.rsplit(None, 1)


def _has_header(
    rows: list[tuple[int, _Cells]], column: int, table: NameTable, asked: str | None
) -> bool:
    """Whether the first line names columns: it names no image, and what stands there is a title."""
    first = rows[0][1]
    cell = first[column].strip() if column < len(first) else ""
    if len(rows) == 1 or table.find(cell):
        return False
    words = set(map(_title, first))
    known = {*_NAME_WORDS, *_LABEL_WORDS, *([_title(asked)] if asked else [])} - {""}
    return bool(words & known) and not _has_ending(cell)


def _label_column(column: int, width: int, header: _Cells | None) -> int | None:
    """The one whose title says so, else the one after the names, else the one before."""
    titles = [_title(title) for title in header or ()]
    for word in _LABEL_WORDS:
        if word in titles and titles.index(word) != column:
            return titles.index(word)
    if width < 2:
        return None
    return column + 1 if column + 1 < width else column - 1


def _one_hot(
    rows: list[tuple[int, _Cells]], column: int, header: _Cells | None
) -> list[tuple[int, str]]:
    """Columns that are a class each, with their titles: in every line one is 1, the others 0."""
    titles = [title.strip() for title in header or ()]
    if set(map(_title, titles)) & set(_LABEL_WORDS):
        return []
    marks = _ONES | _ZEROS
    hot = [
        (at, title)
        for at, title in enumerate(titles)
        if title and at != column and all(at < len(c) and c[at].strip() in marks for _, c in rows)
    ]
    ones = (sum(cells[at].strip() in _ONES for at, _ in hot) for _, cells in rows)
    return hot if len(hot) > 1 and all(count == 1 for count in ones) else []


def _asked_column(path: Path, asked: str, width: int, header: _Cells | None) -> int:
    titles = [title.strip() for title in header or ()]
    if asked in titles:
        return titles.index(asked)
    if asked.isdecimal() and 1 <= int(asked) <= width:
        return int(asked) - 1
    has = ", ".join(titles) or "no titles"
    raise UsageError(
        f"--label-column is a title or a number from 1 to {width}, got {asked!r} for {path} with "
        f"{has}; give one of these"
    )


def _title(cell: str) -> str:
    return re.sub("[^a-z]", "", cell.lower())


def _one(path: Path, number: int, name: str, table: NameTable) -> int | None:
    found = table.find(name)
    if len(found) > 1:
        raise UsageError(
            f"a line of a list names one image, got {name!r} in line {number} of {path}, which is "
            f"{table.name(found[0])} and {table.name(found[1])}; write more of the path"
        )
    return found[0] if found else None


def _parts(name: str) -> list[str]:
    parts = name.replace("\\", "/").replace(":", "/").split("/")
    return [part for part in parts if part not in ("", ".")]


def _plain_parts(name: str) -> list[str]:
    """Accents as lists have them: macOS writes its file names with the other Unicode form."""
    return _parts(unicodedata.normalize("NFC", name))


def _has_ending(name: str) -> bool:
    return os.path.splitext(name)[1][1:].lower() in IMAGE_ENDINGS


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if _has_ending(name) else name
