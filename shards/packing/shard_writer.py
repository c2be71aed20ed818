"""Writes one shard: a tar that gets its name when it is whole, and its index records.

The tar has the bytes of webdataset's `TarWriter`, which is not used, since it imports torch: some
seconds for each process that packs. Nothing in it depends on when or where it was made, so equal
samples give equal bytes. Offsets follow from the tar's layout and are checked against the writer's
own position.
"""

import contextlib
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from shards.format import INDEX_DTYPE, NO_LABEL, TAR_BLOCK_BYTES, ShardInfo
from shards.packing.transcode import StoredImage
from shards.samples.masks import MASK_EXTENSION, mask_step

PART_SUFFIX = ".part"
_OWNER = "bigdata"  # webdataset's
# What tarfile pads a finished tar to: its end is two blocks of zeros, then zeros up to this.
TAR_RECORD_BYTES = 20 * TAR_BLOCK_BYTES


class ShardWriter:
    """A shard that grows; `close` makes it a file of the folder, `discard` leaves no trace."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / name
        self._part = folder / (name + PART_SUFFIX)
        self._stream = _HashingStream(self._part)
        stream: Any = self._stream  # it only writes, which is all that "w|" asks
        self._tar: Any = tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT)
        self._records: list[tuple[int, ...]] = []
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self._records)

    def size_with(self, members: dict[str, bytes]) -> int:
        """Bytes the finished tar would have, were this sample added."""
        end = self._offset + sum(_padded(len(data)) for data in members.values())
        return -(-(end + 2 * TAR_BLOCK_BYTES) // TAR_RECORD_BYTES) * TAR_RECORD_BYTES

    def add(self, key: str, members: dict[str, bytes], image: StoredImage, label: int) -> None:
        """Append a sample; `members` are its files by extension, as `sample_members` makes them."""
        before, offsets = self._offset, dict[str, int]()
        self._starts.append(before)
        for extension in sorted(members):
            self._add_file(f"{key}.{extension}", members[extension])
            offsets[extension] = before + TAR_BLOCK_BYTES
            before += _padded(len(members[extension]))
        offset = offsets[image.extension]
        mask = offsets.get(MASK_EXTENSION)
        assert self._offset == before, "the tar writer lays members out in another way"
        self._records.append(
            (
                *(offset, len(image.data), image.crc32, 0, label, image.height, image.width),
                0 if mask is None else mask_step(offset, mask),
            )
        )

    def close(self) -> tuple[ShardInfo, np.ndarray]:
        """Finish the tar and give it its name.

        Returns:
            What the manifest says of it, and its records [N] INDEX_DTYPE (shard number still 0).
        """
        self._tar.close()
        size_bytes, sha256 = self._stream.finish()
        os.replace(self._part, self._path)
        records = np.array(self._records, dtype=INDEX_DTYPE)
        return ShardInfo(self._path.name, len(records), size_bytes, sha256), records

    @property
    def bounds(self) -> np.ndarray:
        """Where samples begin, and the last ends so far: [N + 1] int64."""
        return np.array([*self._starts, self._offset], np.int64)

    def discard(self) -> None:
        """Drop the unfinished tar."""
        self._stream.abandon()
        # Or tarfile would write the end of the tar when it is garbage collected.
        self._tar.close()
        self._part.unlink(missing_ok=True)

    def _add_file(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o444
        info.uname = info.gname = _OWNER
        self._tar.addfile(info, io.BytesIO(data))

    @property
    def _offset(self) -> int:
        return self._tar.offset


def sample_members(image: StoredImage, label: int, name: str | None) -> dict[str, bytes]:
    """The files of a sample by extension: image, mask, `.cls` (class number), `.json` (name)."""
    members = {image.extension: image.data}
    if image.mask:
        members[MASK_EXTENSION] = image.mask
    if label != NO_LABEL:
        members["cls"] = str(label).encode()
    if name is not None:
        members["json"] = json.dumps({"name": name}).encode()
    return members


def _padded(size: int) -> int:
    """Bytes a member of `size` bytes takes: its header and its data in whole blocks."""
    return (1 + -(-size // TAR_BLOCK_BYTES)) * TAR_BLOCK_BYTES


class _HashingStream:
    """A file for writing that knows the sha256 of what went through."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")
        self._digest = hashlib.sha256()
        self._size = 0
        self._is_abandoned = False

    def write(self, data: bytes) -> int:
        if self._is_abandoned:
            return len(data)
        self._digest.update(data)
        self._size += len(data)
        return self._file.write(data)

    def finish(self) -> tuple[int, str]:
        """Put everything on the disk; bytes and digest."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._size, self._digest.hexdigest()

    def abandon(self) -> None:
        """Let go of the file, and swallow what is still written."""
        self._is_abandoned = True
        with contextlib.suppress(OSError):  # the last write may be what failed
            self._file.close()
