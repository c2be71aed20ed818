"""Access to a folder's tars: one interface for local and remote bytes, and the choice between them.

Tars on a disk are read by `tars/local_files.py`; remote ones by byte ranges, each image alone, by
`remote/range_files.py`, or through whole shards on a disk by `remotecache/cached_files.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from shards.format import Manifest
from shards.remote.address import RemoteFolder
from shards.remote.range_files import RangeFiles
from shards.remotecache.cached_files import CachedFiles
from shards.tars.local_files import Place, ShardFiles


class Files(Protocol):
    """Bytes by shard, offset and size; safe to use from several threads at once."""

    is_remote: bool  # what came over a network is worth a checksum

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Bytes at an offset, fewer than `size` where the file ends; raises OSError."""
        ...

    def read_many(self, places: Sequence[Place]) -> list[bytes | OSError]:
        """The same for many, in order; errors are returned."""
        ...

    def read_again(self, shard: int, offset: int, size: int) -> bytes:
        """A second opinion on bytes that were wrong; raises OSError."""
        ...

    def key(self, shard: int, offset: int) -> str:
        """Key of the member whose data is at `offset`; raises DataError or OSError."""
        ...

    def expect(self, shards: Sequence[int]) -> None:
        """These shards will be read in full, in about this order; replaces what was said before."""
        ...

    def cancel(self) -> None:
        """Let reads that wait for a network fail now, and those that come; files stay open."""
        ...

    def close(self) -> None:
        """Let go of everything; harmless when done twice."""
        ...


def open_files(
    directory: Path | RemoteFolder,
    manifest: Manifest,
    cache_share: float = 1.0,  # of the cache of remote shards, that may be filled ahead
) -> Files:
    """The tars of a folder; nothing is opened before it is read."""
    if not isinstance(directory, RemoteFolder):
        return ShardFiles(directory, [shard.name for shard in manifest.shards])
    if directory.mode == "range":
        return RangeFiles(directory, manifest)
    return CachedFiles(directory, manifest, cache_share)
