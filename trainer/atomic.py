"""Writes a file whole or not at all: under another name, synced, renamed, and the folder synced.

A crash, a kill or a full disk at any moment leaves what was there before. Checkpoints and exported
encoders are written so.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shards.errors import DataError

_SUFFIX = ".tmp"


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, that becomes `path` at the end; DataError when it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # torch's zip writer turns a failed write into a RuntimeError of its own.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise DataError(
            f"a file is written to a folder with room, got {cause} for {path}; what was there "
            "before is intact: free space and go on"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what writers that were killed left half-written; only one may write to a folder."""
    for temporary in folder.glob(f".*{_SUFFIX}"):
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename last: a file's own sync says nothing of its name."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
