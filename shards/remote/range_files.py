"""Remote tars read by byte ranges, image by image, into memory: nothing is kept on a disk.

A batch's images are asked for side by side. For links that are fast and close, or sets that are
read once; otherwise `remotecache/cached_files.py` asks far less often.
"""

from collections.abc import Sequence

from shards.format import Manifest
from shards.remote.address import RemoteFolder
from shards.remote.requests import RemoteStore
from shards.tars.local_files import Place, read_key


class RangeFiles:
    """One of the `Files` (shards/files.py), of a server that sends parts of files."""

    is_remote = True

    def __init__(self, folder: RemoteFolder, manifest: Manifest) -> None:
        self._shards = manifest.shards
        self._store = RemoteStore(folder)

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Bytes at an offset; raises OSError."""
        (found,) = self.read_many([(shard, offset, size)])
        if isinstance(found, OSError):
            raise found
        return found

    def read_many(self, places: Sequence[Place]) -> list[bytes | OSError]:
        """The same for many, side by side; errors are returned. Raises DataError at an outage."""
        names = [(self._shards[shard].name, offset, size) for shard, offset, size in places]
        return self._store.read_many(names)

    def read_again(self, shard: int, offset: int, size: int) -> bytes:
        """The same, asked for once more."""
        return self.read(shard, offset, size)

    def key(self, shard: int, offset: int) -> str:
        """Key of the member whose data is at `offset`; raises DataError or OSError."""
        return read_key(self.read, shard, offset)

    def expect(self, shards: Sequence[int]) -> None:
        """Nothing to do: nothing is kept."""

    def cancel(self) -> None:
        """Let all reads fail from now on."""
        self._store.close()

    def close(self) -> None:
        """As `cancel`."""
        self._store.close()
