"""The source's file names: the packer keeps each in a `.json` beside its image.

Tars of others keep their names in their keys; a `name` in a `.json` of theirs may be anything.
"""

import json
import tarfile
from collections.abc import Callable

from shards.format import TAR_BLOCK_BYTES
from shards.tars.local_files import read_key

# A file's path has 4,096 bytes at most, and JSON's escapes make six of one.
_MAX_NAME_BLOCKS = 50
Read = Callable[[int, int, int], bytes]  # shard, offset, size


def read_file_name(read: Read, shard: int, offset: int, size: int, mask: int = -1) -> str:
    """The file name of a packed image; its key where none was kept.

    Args:
        read: bytes of a shard at an offset, fewer where the tar ends.
        shard: its number.
        offset: of the image's bytes.
        size: of the image in bytes.
        mask: the offset of its mask's data, -1 without one.

    Raises:
        DataError: no tar header stands before the image.
        OSError: the tar cannot be read.
    """
    key = read_key(read, shard, offset)
    member = f"{key}.json"
    # Members of a sample stand in the order of their endings: before a PNG, behind a JPEG.
    behind = offset + _padded(size)
    name = _name_at(read(shard, behind, _MAX_NAME_BLOCKS * TAR_BLOCK_BYTES), member)
    if name is None:
        header = (offset if mask < 0 else min(offset, mask)) - TAR_BLOCK_BYTES
        start = max(0, header - _MAX_NAME_BLOCKS * TAR_BLOCK_BYTES)
        before = read(shard, start, header - start)
        for first in range(len(before) - 2 * TAR_BLOCK_BYTES, -1, -TAR_BLOCK_BYTES):
            name = _name_at(before[first:], member)
            if name is not None:
                break
    return key if name is None else name


def name_in(text: bytes) -> str | None:
    """The name in the text of a `.json` that the packer wrote, None in any other."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    name = content.get("name") if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


def _name_at(blocks: bytes, member: str) -> str | None:
    """The name in a member that these bytes begin with, if it is the one looked for."""
    if not blocks.startswith(member.encode("utf-8", "surrogateescape") + b"\0"):
        return None
    try:
        header = tarfile.TarInfo.frombuf(
            blocks[:TAR_BLOCK_BYTES], tarfile.ENCODING, "surrogateescape"
        )
    except tarfile.TarError:
        return None
    return name_in(blocks[TAR_BLOCK_BYTES : TAR_BLOCK_BYTES + header.size])


def _padded(size: int) -> int:
    return -(-size // TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES
