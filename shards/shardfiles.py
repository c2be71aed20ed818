"""The open tars of a folder: a bounded number of descriptors that threads share without a seek.

The reader and the index read through here. A descriptor that falls out of the cache is closed when
the last thread that uses it is done.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from shards.format import TAR_BLOCK_BYTES
from shards.tar import member_name, split_name

_MAX_OPEN = 64
_LONG_NAME_BLOCKS = 16
_MAX_READ_BYTES = 64 << 20  # at once
_MAX_OFFSET = (1 << 63) - 1 - _MAX_READ_BYTES


class _Descriptor:
    """A file descriptor that closes with its last reference."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class ShardFiles:
    """Reads by shard and offset; thread-safe."""

    def __init__(self, directory: Path, names: Sequence[str], max_open: int = _MAX_OPEN) -> None:
        self._directory = directory
        self._names = names
        self._max_open = max_open
        self._open: OrderedDict[int, _Descriptor] = OrderedDict()
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

    def key(self, shard: int, offset: int) -> str:
        """Key of the member whose data is at `offset`; raises DataError or OSError."""
        start = max(0, offset - _LONG_NAME_BLOCKS * TAR_BLOCK_BYTES)
        name = member_name(self.read(shard, start, offset - start))
        split = split_name(name)
        return split[0] if split else name

    def close(self) -> None:
        """Let go of every file; a later read opens them again."""
        with self._lock:
            self._open.clear()

    def _descriptor(self, shard: int) -> _Descriptor:
        with self._lock:
            found = self._open.get(shard)
            if found is None:
                flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
                found = self._open[shard] = _Descriptor(
                    os.open(self._directory / self._names[shard], flags)
                )
                if len(self._open) > self._max_open:
                    self._open.popitem(last=False)
            self._open.move_to_end(shard)
            return found
