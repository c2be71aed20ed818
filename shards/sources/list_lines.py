"""The lines of a list that a user wrote: text in UTF-8, none of them empty, none a comment."""

from pathlib import Path

from shards.errors import DataError, UsageError

MAX_LIST_BYTES = 1 << 30
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
    lines = enumerate(text.splitlines(), 1)
    found = [(n, line) for n, line in lines if line.strip() and not line.startswith("#")]
    if not found:
        raise DataError(f"a list of images has a line an image, got none in {path}; check the path")
    return found
