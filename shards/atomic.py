"""Writes a file whole or not at all: under another name, synced, renamed, and the folder synced.

A crash, a kill, a power cut or a full disk at any moment leaves what was there before. Indexes,
configs, checkpoints, exported encoders and results are written so.

What a disk cannot do is not asked of it: some network disks and FUSE mounts refuse to sync a
folder, or anything; a file is then as durable as that disk makes it. What a disk tried and failed
to do (no space, a broken sector) is an error, at the write, the sync and the close alike.
"""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shards.errors import DataError

_SUFFIX = ".tmp"
# The answers of disks that do not offer a sync; EACCES and EPERM come from folders that may be
# written and not read.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
_CANNOT_SYNC |= {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTTY}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Windows shares refuse to rename over a file that someone reads; readers are done soon.
_IN_USE = {errno.EACCES, errno.EBUSY, errno.ETXTBSY}
_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)
# A file being written is younger; a name holds the number of a process, which may be on another
# machine, so nobody can be asked whether it lives.
_LEFT_BEHIND_S = 3600.0


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, that becomes `path` at the end; DataError when it cannot be written.

    A link leads to the file that is replaced; what is no file, as /dev/stdout, is written as it is.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        with open(path, "wb") as file:
            yield file
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            _sync(file.fileno())
        _remove_older(temporary, path)
        _rename(temporary, path)
    except DataError:
        raise
    except (OSError, RuntimeError) as error:
        # torch's zip writer turns a failed write into a RuntimeError of its own.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise DataError(
            f"a file is written to a folder with room, got {cause} for {path}; what was there "
            f"before is intact: {_remedy(cause)} and go on"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    try:
        _sync_folder(path.parent)
    except OSError as error:
        raise DataError(
            f"a file's name is written to its disk, got {error} for {path}; the file is whole and "
            "may be gone after a power cut: look at that disk and go on"
        ) from error


def write_whole(path: Path, content: bytes | memoryview | str) -> None:
    """Write a file, text as UTF-8, so that `path` is as before or complete; as `atomic_file`."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_leftovers(folder: Path) -> None:
    """Delete what writers that were killed left half-written; only one may write to a folder."""
    for temporary in folder.glob(f".*{_SUFFIX}"):
        temporary.unlink(missing_ok=True)


def _remove_older(temporary: Path, path: Path) -> None:
    """Delete what killed writers of the same file left long ago, by the disk's own clock."""
    now = temporary.stat().st_mtime
    prefix = f".{path.name}."
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            number = name.removeprefix(prefix).removesuffix(_SUFFIX)
            if name == f"{prefix}{number}{_SUFFIX}" and number.replace("-", "").isdigit():
                other = path.with_name(name)
                if now - other.stat().st_mtime > _LEFT_BEHIND_S:
                    other.unlink(missing_ok=True)


def _rename(temporary: Path, path: Path) -> None:
    for pause_s in (*_PAUSES_S, None):
        try:
            os.replace(temporary, path)
            return
        except OSError as error:
            if pause_s is None or error.errno not in _IN_USE or not path.is_file():
                raise
            time.sleep(pause_s)


def _remedy(cause: OSError) -> str:
    if cause.errno in _NO_ROOM:
        return "free space"
    return "let the folder be written, or name another one,"


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _sync_folder(folder: Path) -> None:
    """Make the rename last: a file's own sync says nothing of its name."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
        return
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)
