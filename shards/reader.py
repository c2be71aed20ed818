"""From sample ids to encoded bytes, held to their crc32; a bad sample is an answer, no error.

What came over a network is always compared with the index's crc32, and asked for once more when it
differs; what a disk gave, where the caller asks for it. What to do about a `SampleError` (count it,
replace it, stop) is the caller's decision.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from shards.errors import DataError
from shards.format import TAR_BLOCK_BYTES
from shards.index import ShardIndex
from shards.samples.image_header import ImageError
from shards.samples.masks import FIRST_READ_BYTES, mask_bytes, mask_offsets, masked
from shards.tars.local_files import Place


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
            verify: compare the bytes with the index's crc32 also where a disk gives them.
        """
        self._index = index
        self._files = index.open_files()
        self._verify = verify or self._files.is_remote

    def read(self, ids: np.ndarray, records: np.ndarray | None = None) -> list[bytes | SampleError]:
        """Encoded bytes of samples, in the order asked for.

        Args:
            ids: [B] integers in [0, N).
            records: [B] of the index, of these samples; None: they are looked up here.

        Returns:
            [B] the bytes, or why there are none.

        Raises:
            IndexError: an id outside [0, N): the caller's mistake, not the data's.
        """
        records = self._index.rows(ids) if records is None else records
        columns = (records[name].tolist() for name in ("shard", "offset", "size"))
        places = list(zip(*columns, strict=True))
        return [
            self._checked(int(sample_id), place, crc32, found)
            for sample_id, place, crc32, found in zip(
                np.asarray(ids),
                places,
                records["crc32"].tolist(),
                self._files.read_many(places),
                strict=True,
            )
        ]

    def read_masks(
        self, ids: np.ndarray, records: np.ndarray | None = None
    ) -> list[bytes | SampleError | None]:
        """The encoded masks of samples, in the order asked for: as `read`; None without one.

        A mask has no crc32 in the index: a PNG's own checksums are looked at when it is decoded.
        """
        records = self._index.rows(ids) if records is None else records
        rows = np.flatnonzero(masked(records)).tolist()
        found_at = mask_offsets(records).tolist()
        starts = [(int(records[row]["shard"]), found_at[row]) for row in rows]
        firsts = self._files.read_many(
            [(shard, at - TAR_BLOCK_BYTES, FIRST_READ_BYTES) for shard, at in starts]
        )
        found: list[bytes | SampleError | None] = [None] * len(records)
        for row, (shard, at), first in zip(rows, starts, firsts, strict=True):
            mask, why = self._whole_mask(shard, at, first)
            if why:
                place = (shard, int(records[row]["offset"]), 0)
                name = self._index.shard_name(shard)
                found[row] = SampleError(
                    int(ids[row]), self._key(place), f"its mask: {why} ({name})"
                )
            else:
                found[row] = mask
        return found

    def _whole_mask(self, shard: int, offset: int, first: bytes | OSError) -> tuple[bytes, str]:
        """A mask's bytes and the fault of them, from what the first read gave."""
        try:
            if isinstance(first, OSError):
                raise first
            size = mask_bytes(first)
            data = first[TAR_BLOCK_BYTES : TAR_BLOCK_BYTES + size]
            if len(data) < size:
                data = self._files.read(shard, offset, size)
        except OSError as error:
            return b"", f"cannot be read: {error.strerror}"
        except ImageError as error:
            return b"", str(error)
        return data, "" if len(
            data
        ) == size else f"the shard ends after {len(data)} of {size} bytes"

    def expect(self, shards: np.ndarray | None) -> None:
        """Say which shards will be read in full, in about this order; None: all of them.

        Remote ones are fetched whole and ahead, up to what the cache holds. What is said replaces
        what was said before.
        """
        self._files.expect(range(len(self._index.shards)) if shards is None else shards.tolist())

    def cancel(self) -> None:
        """Let reads that wait for a network end now, and fail; from any thread."""
        self._files.cancel()

    def close(self) -> None:
        """Close the files; harmless when done twice."""
        self._files.close()

    def __enter__(self) -> "ShardReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _checked(
        self, sample_id: int, place: Place, crc32: int, found: bytes | OSError
    ) -> bytes | SampleError:
        wrong = self._wrong(place, crc32, found)
        if wrong and self._files.is_remote and isinstance(found, bytes):
            try:
                found = self._files.read_again(*place)
            except OSError as error:
                found = error
            wrong = self._wrong(place, crc32, found)
        if not wrong and isinstance(found, bytes):
            return found
        # What a network did not bring now would be waited for once more.
        has_key = isinstance(found, bytes) or not self._files.is_remote
        key = self._key(place) if has_key else self._place(place)
        return SampleError(sample_id, key, f"{wrong} ({self._index.shard_name(place[0])})")

    def _wrong(self, place: Place, crc32: int, found: bytes | OSError) -> str:
        """The fault of the bytes of a place, empty when there is none."""
        if isinstance(found, OSError):
            return f"cannot be read: {found.strerror}"
        if len(found) != place[2]:
            return f"the shard ends after {len(found)} of {place[2]} bytes"
        if self._verify and zlib.crc32(found) != crc32:
            return f"crc32 is {zlib.crc32(found):08x}, must be {crc32:08x}"
        return ""

    def _key(self, place: Place) -> str:
        try:
            return self._files.key(*place[:2])
        except (DataError, OSError):
            return self._place(place)

    def _place(self, place: Place) -> str:
        return f"byte {place[1]} of {self._index.shard_name(place[0])}"
