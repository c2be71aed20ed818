"""A file that a command will write: refused before the work that fills it, not after."""

import os
from collections.abc import Sequence
from pathlib import Path

from shards.errors import UsageError


def check_output(flag: str, path: Path | None, suffixes: Sequence[str] = ()) -> None:
    """UsageError unless `path` can be a file of ours, with one of these endings; None is no file.

    The ending counts in capitals too. A device, as /dev/stdout, is a file that is there.
    """
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(
            f"{flag} is a file that ends with {' or '.join(suffixes)}, got {path}; try "
            f"{flag} {path.with_suffix(suffixes[0]) if path.name else suffixes[0]}"
        )
    if path.is_dir():
        raise UsageError(f"{flag} is a file, got the folder {path}; name a file in it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(
            f"{flag} is a file in an existing folder, got {path}; make {folder} first, or name "
            "another file"
        )
    written = path if path.exists() and not path.is_file() else folder
    if not os.access(written, os.W_OK):
        raise UsageError(
            f"{flag} is a file that may be written, got {path} in a folder that is closed to us; "
            "name another"
        )
