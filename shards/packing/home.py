"""The home of a set that is made: a folder of a disk, or an address in a bucket.

Whoever makes a set writes its files into `folder` and sends each home when it is whole. On a disk
that is the place itself, and nothing is to be sent; of a bucket see `bucket_home.py`.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shards.remote.address import RemoteFolder

State = tuple[int | str, ...]  # of a file: its size, then what changes with it
# Small enough to stay in a processor's cache: pieces of 8 MB take 2.5 times as long to copy.
_READ_AT_ONCE = 256 << 10


class Home(Protocol):
    """Where a set, its parts and its journals are in the end; can be sent to another process."""

    @property
    def folder(self) -> Path:
        """The folder in which files are made, and in which all but tars can be read."""
        ...

    @property
    def where(self) -> Path | RemoteFolder:
        """What the user calls it."""
        ...

    @property
    def renames(self) -> bool:
        """Whether files get their final names by a rename, or have them from the beginning."""
        ...

    def names(self) -> list[str]:
        """Everything that lies there, of any maker, by its first name."""
        ...

    def state(self, path: Path) -> State | None:
        """The size of a file at home, and what changes with it; None where there is none."""
        ...

    def look(self) -> None:
        """See anew what lies there."""
        ...

    def send(self, path: Path) -> None:
        """Bring a whole file home; a tar may be gone from here then."""
        ...

    def remove(self, paths: Sequence[Path]) -> None:
        """Remove files and folders, here and at home."""
        ...

    def tar(self, path: Path, size_bytes: int) -> AbstractContextManager[Path]:
        """A tar of the home on this disk, for a block."""
        ...

    def pieces(self, path: Path, start: int, stop: int) -> Iterator[bytes]:
        """These bytes of a tar of the home, or fewer where it is shorter."""
        ...

    def attempt(self, path: Path, token: str) -> AbstractContextManager[Path]:
        """A name of its own for a file that is to become `path`; sent, once the block is over."""
        ...

    def accept(self, path: Path, token: str) -> None:
        """Make the file of this attempt the one at `path`."""
        ...


@dataclass(frozen=True, slots=True)
class DiskHome:
    """A folder of a disk: what is written there is at home."""

    folder: Path

    @property
    def where(self) -> Path:
        """The folder."""
        return self.folder

    @property
    def renames(self) -> bool:
        """It does."""
        return True

    def names(self) -> list[str]:
        """As of every home; none where it does not exist."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []

    def state(self, path: Path) -> State | None:
        """As of every home."""
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return (found.st_size, found.st_mtime_ns, found.st_ctime_ns) if path.is_file() else None

    def look(self) -> None:
        """Nothing to do: it is seen each time."""

    def send(self, path: Path) -> None:
        """Nothing to do: it is there."""

    def remove(self, paths: Sequence[Path]) -> None:
        """As of every home."""
        for path in paths:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def tar(self, path: Path, size_bytes: int) -> AbstractContextManager[Path]:
        """The path itself."""
        return contextlib.nullcontext(path)

    def pieces(self, path: Path, start: int, stop: int) -> Iterator[bytes]:
        """As of every home."""
        with open(path, "rb") as file:
            file.seek(start)
            while chunk := file.read(min(stop - start, _READ_AT_ONCE)):
                start += len(chunk)
                yield chunk

    def attempt(self, path: Path, token: str) -> AbstractContextManager[Path]:
        """Beside it."""
        return contextlib.nullcontext(_attempt_name(path, token))

    def accept(self, path: Path, token: str) -> None:
        """One rename."""
        os.replace(_attempt_name(path, token), path)


def _attempt_name(path: Path, token: str) -> Path:
    return path.with_name(f"{path.name}.{token}.part")
