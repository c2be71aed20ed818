"""The open tars of a folder: a bounded number of descriptors that threads share without a seek.

A descriptor that falls out of the cache is closed when the last thread that uses it is done.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from shards.format import TAR_BLOCK_BYTES
from shards.tars.members import member_name, split_name

_MAX_OPEN = 64
_HASHED_AT_ONCE = 256 << 10
_LONG_NAME_BLOCKS = 16
_MAX_READ_BYTES = 64 << 20  # at once
_MAX_OFFSET = (1 << 63) - 1 - _MAX_READ_BYTES
Place = tuple[int, int, int]  # shard, offset, size


class Descriptor:
    """A file descriptor that closes with its last reference."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class ShardFiles:
    """Reads by shard and offset; thread-safe. The local one of the `Files` (shards/files.py)."""

    is_remote = False

    def __init__(self, directory: Path, names: Sequence[str], max_open: int = _MAX_OPEN) -> None:
        self._directory = directory
        self._names = names
        self._max_open = max_open
        self._open: OrderedDict[int, Descriptor] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Bytes at an offset, fewer than `size` where the file ends; raises OSError."""
        descriptor = self._descriptor(shard)
        parts: list[bytes] = []
        # One call reads at most 2 GiB, and some network disks give less than was asked for.
        while size > 0 and offset <= _MAX_OFFSET:
            # A damaged index may ask for far more than there is, and memory is taken before.
            part = os.pread(descriptor.number, min(size, _MAX_READ_BYTES), offset)
            if not part:
                break
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_many(self, places: Sequence[Place]) -> list[bytes | OSError]:
        """The same for many, in order; errors are returned."""
        found: list[bytes | OSError] = []
        for place in places:
            try:
                found.append(self.read(*place))
            except OSError as error:
                found.append(error)
        return found

    def read_again(self, shard: int, offset: int, size: int) -> bytes:
        """The same bytes: a disk says nothing else the second time."""
        return self.read(shard, offset, size)

    def key(self, shard: int, offset: int) -> str:
        """Key of the member whose data is at `offset`; raises DataError or OSError."""
        return read_key(self.read, shard, offset)

    def expect(self, shards: Sequence[int]) -> None:
        """Nothing to do: they are here."""

    def cancel(self) -> None:
        """Nothing to do: a disk answers."""

    def close(self) -> None:
        """Let go of every file; a later read opens them again."""
        with self._lock:
            self._open.clear()

    def _descriptor(self, shard: int) -> Descriptor:
        with self._lock:
            found = self._open.get(shard)
            if found is None:
                flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
                path = self._directory / self._names[shard]
                found = self._open[shard] = Descriptor(os.open(path, flags))
                if len(self._open) > self._max_open:
                    self._open.popitem(last=False)
            self._open.move_to_end(shard)
            return found


def sha256_of(file: Path | int) -> str:
    """SHA-256 of a whole file, given by its path or an open descriptor; raises OSError."""
    if isinstance(file, Path):
        with open(file, "rb") as opened:
            return sha256_of(opened.fileno())
    sha, offset = hashlib.sha256(), 0
    while chunk := os.pread(file, _HASHED_AT_ONCE, offset):
        sha.update(chunk)
        offset += len(chunk)
    return sha.hexdigest()


def read_key(read: Callable[[int, int, int], bytes], shard: int, offset: int) -> str:
    """Key of the member of a tar whose data is at `offset`, through a function that reads."""
    start = max(0, offset - _LONG_NAME_BLOCKS * TAR_BLOCK_BYTES)
    name = member_name(read(shard, start, offset - start))
    split = split_name(name)
    return split[0] if split else name
