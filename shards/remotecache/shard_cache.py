"""Whole files on a local disk, bounded in bytes, shared by threads, ranks and runs.

    CACHE/train-000000-0f3a...tar        a whole file; its time is when it was last read
    CACHE/train-000001-77c2...tar.part   one being fetched, of its final size, locked by its owner
    CACHE/lock                           held while room is made

Room is made before a file is fetched, by removing those read longest ago, and files being fetched
count in full: the sum stays within the bound at every moment. Nobody has to know who reads what,
since an open file outlives its name. A part that nobody has locked was left behind by a process
that died.
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from shards.errors import DataError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

_PART = ".part"
_LOCK = "lock"
_POLL_S = 0.02
_STAMP_EVERY_S = 10.0
_MOST_BYTES = 64 << 30
_SHARE_OF_FREE = 0.5


class ShardCache:
    """A folder of whole files under a bound; thread-safe."""

    def __init__(self, folder: Path, max_bytes: int | None, stalled_s: float) -> None:
        """Make the folder.

        Args:
            folder: holds nothing else.
            max_bytes: bound of all files together; None takes half of what is free on the disk or
                here already, at most 64 GiB.
            stalled_s: someone else's file that has not grown for so long is not waited for.

        Raises:
            DataError: it cannot be written.
        """
        self._folder = folder
        self._stalled_s = stalled_s
        self._stamped: dict[str, float] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                used = sum(size for _, size, _ in self._files())
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise DataError(
                f"remote shards are kept in a local folder that can be written and locked, got "
                f"{folder} ({error.strerror}); set data.remote_cache to another"
            ) from None
        self.max_bytes = max_bytes or min(_MOST_BYTES, int((free + used) * _SHARE_OF_FREE))

    def open(self, name: str) -> int | None:
        """A descriptor of a whole file, which the caller closes; None when it is not here."""
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        now = time.monotonic()
        if now - self._stamped.get(name, -_STAMP_EVERY_S) >= _STAMP_EVERY_S:
            self._stamped[name] = now
            with contextlib.suppress(OSError):  # of another user
                os.utime(descriptor)
        return descriptor

    def fetch(
        self, name: str, size_bytes: int, fill: Callable[[int], None], *, wait: bool = True
    ) -> int | None:
        """As `open`, fetching the file when it is not here.

        Args:
            name: of the file.
            size_bytes: its size, at most the bound.
            fill: writes it into an open file; its errors come out of here, and no file is left.
            wait: until another thread or process that fetches it is done, or for room; without it,
                None is returned then.

        Raises:
            OSError: the other one has stalled; or as `fill`.
        """
        while True:
            descriptor = self.open(name)
            if descriptor is not None:
                return descriptor
            with self._locked():
                part = self._begin(name, size_bytes)
                idle_s = self._idle_s() if part is None else 0.0
            if part is not None:
                break
            if not wait:
                return None
            if idle_s > self._stalled_s:
                raise OSError(errno.ETIMEDOUT, f"another process stalls in {self._folder}")
            time.sleep(_POLL_S)
        path = self._folder / f"{name}{_PART}"
        with _released(part, path):
            fill(part)
            with self._locked():  # or one who makes room could count it under neither name
                os.rename(path, self._folder / name)
            _lock(part, free=True)
        return part

    def drop(self, name: str) -> bool:
        """Forget a file; whether it is gone: one of another user may have to stay."""
        with contextlib.suppress(OSError):
            os.unlink(self._folder / name)
        return not (self._folder / name).exists()

    def _begin(self, name: str, size_bytes: int) -> int | None:
        """An empty part that this caller owns; None while it, or the room for it, is another's."""
        files = self._files()
        if any(found in (name, name + _PART) for found, _, _ in files):
            return None
        excess = sum(size for _, size, _ in files) + size_bytes - self.max_bytes
        whole = sorted((time, found, size) for found, size, time in files if _is_whole(found))
        for _, found, size in whole:
            if excess <= 0:
                break
            excess -= size if self.drop(found) else 0
        if excess > 0:
            return None
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        path = self._folder / f"{name}{_PART}"
        part = os.open(path, flags, 0o666)
        with _released(part, path):
            _lock(part)
            os.ftruncate(part, size_bytes)
        return part

    def _files(self) -> list[tuple[str, int, float]]:
        """Name, bytes and time of every file; parts that were left behind are removed."""
        found = []
        for entry in os.scandir(self._folder):
            if entry.name == _LOCK:
                continue
            with contextlib.suppress(FileNotFoundError):  # renamed or dropped meanwhile
                if not _is_whole(entry.name) and self._remove_if_left(entry.path):
                    continue
                state = entry.stat()
                found.append((entry.name, state.st_size, state.st_mtime))
        return found

    def _remove_if_left(self, path: str) -> bool:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:  # another user's, who has to see to it
            return False
        try:
            if not _lock(descriptor):
                return False
            os.unlink(path)
            return True
        except PermissionError:
            return False
        finally:
            os.close(descriptor)

    def _idle_s(self) -> float:
        """Seconds since any file being fetched grew; 0 without one."""
        times = [time for name, _, time in self._files() if not _is_whole(name)]
        return time.time() - max(times) if times else 0.0

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(descriptor, wait=True)
            yield
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _released(part: int, path: Path) -> Iterator[None]:
    """Let a failure leave neither the descriptor and its lock nor the file."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(part)
        raise


def _is_whole(name: str) -> bool:
    return not name.endswith(_PART)


def _lock(descriptor: int, *, wait: bool = False, free: bool = False) -> bool:
    """Lock an open file, or free it; False when another has it. Raises OSError without locks."""
    if fcntl is None:
        raise OSError(errno.ENOLCK, "no file locks on this system")
    how = fcntl.LOCK_UN if free else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, how if wait or free else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
