"""One process at a time writes into a run's folder: the lock is on the folder, and leaves no file.

The kernel lets go of it when the process ends, however it ends. Where a file system has no such
locks (NFS has none on folders), a line says that nothing is locked.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from shards.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold the folder, which is there; UsageError while another process does."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"one process at a time trains in a folder, got --out {out}, where another is at "
                "work; wait for it or stop it, or name another --out"
            ) from None
        except OSError as error:
            sys.stderr.write(
                f"warning: {out} has no locks ({error.strerror}): take care that no other process "
                "trains in it\n"
            )
        yield
    finally:
        os.close(descriptor)
