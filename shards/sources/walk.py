"""Walks a folder that a user named: files at any depth, through links, never in a circle.

All who look into SOURCE walk this way, so that what is told apart is what is read. Hidden names are
not seen; folders that systems make for themselves are left out and counted.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from shards.errors import DataError

# Thumbnails, bins and copies, of Synology, Windows, macOS and Linux.
SYSTEM_FOLDERS = frozenset(
    ("@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "lost+found")
)
_Folder = tuple[str, frozenset[tuple[int, int]]]  # its path, and itself with all that contain it


def walk_files(
    root: Path, left_out: Counter[str] | None = None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file by its path inside a folder, in no order; links are followed.

    Args:
        root: the folder.
        left_out: counts the folders of systems, by their names.

    Raises:
        DataError: a folder cannot be read.
    """
    here = root.resolve()
    around = frozenset(filter(None, (_identity(place) for place in (here, *here.parents))))
    pending: list[_Folder] = [("", around)]
    while pending:
        folder, around = pending.pop()
        for entry in list_folder(root / folder):
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                continue
            if not is_folder(entry):
                yield name, entry
            elif entry.name in SYSTEM_FOLDERS:
                if left_out is not None:
                    left_out[entry.name] += 1
            elif (identity := _identity(entry)) not in around:  # else a link leads back
                pending.append((name, around | {identity} if identity else around))


def walk_notes(left_out: Counter[str]) -> Iterator[str]:
    """A sentence about the folders of systems, where there are some."""
    if left_out:
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(left_out.items()))
        yield f"not looked into, as folders that a system makes for itself: {told}"


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder; a link that leads nowhere or to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_special(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a pipe, a socket or a device: who reads one may wait for ever."""
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link to nothing is refused by name when it is read
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """What is directly in a folder; raises DataError when it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"every folder of SOURCE must be readable, got {folder} ({error.strerror}); mend its "
            f"permissions or move it away"
        ) from None


def _identity(place: Path | os.DirEntry[str]) -> tuple[int, int] | None:
    """Of a folder, whatever its path; None where it is not to be asked."""
    try:
        state = os.stat(place)
    except OSError:
        return None
    return state.st_dev, state.st_ino
