"""From sample ids to encoded bytes, checked where asked for; a bad sample is an answer.

The pipeline calls `read` from its reading threads and passes the bytes to a decoder. What to do
about a `SampleError` (count it, replace it, stop) is the pipeline's decision.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from shards.errors import DataError
from shards.index import ShardIndex
from shards.shardfiles import ShardFiles


@dataclass(frozen=True, slots=True)
class SampleError:
    """A sample that could not be delivered: returned, not raised, so that a batch goes on."""

    id: int
    key: str  # or the shard and offset, where the key cannot be read either
    reason: str


class ShardReader:
    """Reads samples at random from a folder of shards; safe to use from several threads at once."""

    def __init__(self, index: ShardIndex, *, verify: bool = False) -> None:
        """Open nothing yet.

        Args:
            index: which samples there are.
            verify: compare each sample's bytes with the index's crc32.
        """
        self._index = index
        self._verify = verify
        self._files = ShardFiles(index.directory, [shard.name for shard in index.shards])

    def read(self, ids: np.ndarray) -> list[bytes | SampleError]:
        """Encoded bytes of samples, in the order asked for.

        Args:
            ids: [B] integers in [0, N).

        Returns:
            [B] the bytes, or why there are none.

        Raises:
            IndexError: an id outside [0, N): the caller's mistake, not the data's.
        """
        rows = self._index.rows(ids)
        columns = (rows[name].tolist() for name in ("shard", "offset", "size", "crc32"))
        return [
            self._read_one(int(sample_id), *row)
            for sample_id, row in zip(np.asarray(ids), zip(*columns, strict=True), strict=True)
        ]

    def close(self) -> None:
        """Close the files; harmless when done twice."""
        self._files.close()

    def __enter__(self) -> "ShardReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _read_one(
        self, sample_id: int, shard: int, offset: int, size: int, crc32: int
    ) -> bytes | SampleError:
        try:
            encoded = self._files.read(shard, offset, size)
        except OSError as error:
            return self._failed(sample_id, shard, offset, f"cannot be read: {error.strerror}")
        if len(encoded) != size:
            reason = f"the shard ends after {len(encoded)} of {size} bytes"
            return self._failed(sample_id, shard, offset, reason)
        if self._verify and zlib.crc32(encoded) != crc32:
            reason = f"crc32 is {zlib.crc32(encoded):08x}, must be {crc32:08x}"
            return self._failed(sample_id, shard, offset, reason)
        return encoded

    def _failed(self, sample_id: int, shard: int, offset: int, reason: str) -> SampleError:
        name = self._index.shards[shard].name
        try:
            key = self._files.key(shard, offset)
        except (DataError, OSError):
            key = f"byte {offset} of {name}"
        return SampleError(sample_id, key, f"{reason} ({name})")
