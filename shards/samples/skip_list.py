"""Lists of images to leave out: a text, a line an image, by its name or key.

    # set 1c9e0b...          the fingerprint of the set whose numbers follow
    cats/7.jpg [tab] 123     name, and the sample's number in that set
    cats/8.jpg               or a name alone

`tools/find_duplicates.py` writes them, people may. By the number the trainer finds an image of that
very set without reading a tar; a name is looked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.errors import DataError, UsageError

_MAX_BYTES = 1 << 30
_SET = "# set "


@dataclass(frozen=True, slots=True)
class SkipLine:
    """One image to leave out."""

    number: int  # of the line in the file, from 1
    name: str  # or its key
    id: int | None  # its number in the set that the list was made of


@dataclass(frozen=True, slots=True)
class SkipList:
    """A list that was read."""

    path: Path
    lines: tuple[SkipLine, ...]
    fingerprint: str  # of the set that the numbers are of; empty where none is said


def read_skip_list(path: Path) -> SkipList:
    """Read a list.

    Raises:
        UsageError: no such file.
        DataError: it is no text, or names nothing.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"a skip list has at most 1 GiB, got {path}; split the set")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"a skip list is a file that can be read, got {path} ({error.strerror}); check the path"
        ) from None
    except UnicodeDecodeError:
        raise DataError(
            f"a skip list is a text in UTF-8, with a line an image, got {path}; name another file"
        ) from None
    if "\0" in text:
        raise DataError(
            f"a skip list is a text with a line an image, got {path}; name another file"
        )
    fingerprint, lines = "", []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if line.startswith(_SET):
            fingerprint = line.removeprefix(_SET).strip()
        elif line.strip() and not line.startswith("#"):
            name, tab, rest = line.partition("\t")
            if tab and not rest.isdecimal():
                raise DataError(
                    f"a line of a skip list is a name, or a name, a tab and a number, got {line!r} "
                    f"in line {number} of {path}; mend it"
                )
            # A name that begins with # is written with ./ before it.
            lines.append(SkipLine(number, name.removeprefix("./"), int(rest) if tab else None))
    # That a program found nothing is an answer.
    if not lines and not fingerprint:
        raise DataError(f"a skip list has a line an image, got none in {path}; leave it out")
    return SkipList(path, tuple(lines), fingerprint)


def skip_list_text(
    names: Sequence[str], keys: Sequence[str], ids: Sequence[int], fingerprint: str
) -> str:
    """The text of a list; an image whose name is no line of text goes by its key."""
    lines = [f"{_SET}{fingerprint}"]
    for name, key, sample_id in zip(names, keys, ids, strict=True):
        written = name if name.isprintable() and name.strip() else key
        lines.append(f"{'./' if written.startswith(('#', './')) else ''}{written}\t{sample_id}")
    return "\n".join(lines) + "\n"
