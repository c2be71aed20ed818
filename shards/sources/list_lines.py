"""The lines of a list that a user wrote: text in UTF-8, none of them empty, none a comment."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from shards.errors import DataError, UsageError

MAX_LIST_BYTES = 1 << 30
_LINE_END = re.compile(r"\r\n?|\n")  # captions hold what splitlines takes for more of them
_SEPARATOR = re.compile(r"sep=[,;\t|]?")
# Cells of a CSV that begin with a quote: whole ones, and where one begins.
_QUOTED = re.compile(r'(?:^|(?<=[,;\t]))"(?:[^"]|"")*"(?=[,;\t]|\s*$)')
_BEGUN = re.compile(r'(?:^|[,;\t])"')
_MAX_CELL_LINES = 64
_JSON_ENDINGS, _JSON_STARTS = (".json", ".jsonl", ".ndjson"), ('{"', '[{"', '["', "[[")


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of every line that says something; comments do not."""
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise DataError(f"a list of images has at most 1 GiB, got {path}; split it")
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise UsageError(
            f"a list of images is a file that can be read, got {path} ({error.strerror}); check "
            f"the path"
        ) from None
    if "\0" in text:
        raise DataError(
            f"a list of images is a text in UTF-8, with a line an image, got {path}; save it as "
            f"CSV (UTF-8)"
        )
    if path.suffix.lower() in _JSON_ENDINGS or text.lstrip().startswith(_JSON_STARTS):
        raise UsageError(
            f"a list of images is a CSV, a TSV or words with blanks, got JSON in {path}; save it "
            f"as CSV, a line an image with its name and its class"
        )
    found = [
        (number, line)
        for number, line in _whole_lines(_LINE_END.split(text))
        if line.strip() and not line.startswith("#")
    ]
    if found and _SEPARATOR.fullmatch(found[0][1]):  # for Excel alone
        del found[0]
    if not found:
        raise DataError(f"a list of images has a line an image, got none in {path}; check the path")
    return found


def _whole_lines(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Lines by number, those of one quoted cell, such as a caption, as one with blanks between."""
    at = 0
    while at < len(lines):
        first, text = at, lines[at]
        while _is_begun(text) and at + 1 < min(len(lines), first + _MAX_CELL_LINES):
            at += 1
            text = f"{text} {lines[at]}"
        if _is_begun(text):  # a quote that is none
            at, text = first, lines[first]
        yield first + 1, text
        at += 1


def _is_begun(text: str) -> bool:
    return '"' in text and text[0] != "#" and _BEGUN.search(_QUOTED.sub("", text)) is not None
