"""Folders of this machine for what is made here and lies elsewhere: in the user's cache folder.

Each belongs to one command, and goes with it. What a killed one left is removed by the next.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.errors import DataError
from shards.store import cache_root

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

_PREFIX = "making-"


def scratch_root() -> Path:
    """The folder of these folders; it need not exist."""
    return cache_root() / "packing"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder that is gone after the block; DataError where none can be made."""
    root = scratch_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_left(root)
        folder, descriptor = _make(root)
    except OSError as error:
        raise DataError(
            f"shards are made in a folder of this machine before they are uploaded, got "
            f"{error.strerror} for {root}; set AUGENGINE_CACHE to a folder of yours with room"
        ) from None
    try:
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _make(root: Path) -> tuple[Path, int]:
    """A folder and its open descriptor, which holds the lock where there are locks."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another command took it for one that was left, before it had its lock
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_SH)
        if folder.is_dir():
            return folder, descriptor
        os.close(descriptor)


def _remove_left(root: Path) -> None:
    """Those whose commands have ended hold no lock."""
    if fcntl is None:
        return
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
