"""Unpacks a compressed file within bounds, into a file without a name that goes with the process.

What an archive may grow to is bounded, since bombs of some kilobytes unpack to terabytes, and so is
the memory that unpacking takes.
"""

import bz2
import gzip
import lzma
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from shards.errors import DataError
from shards.terminal.bytesize import show_size

_COPIED_AT_ONCE = 8 << 20
# Images hardly shrink; the flattest ones in the oldest formats do, a hundred times.
_MAX_GROWTH = 100
_MIN_LIMIT_BYTES = 1 << 30
_MAX_XZ_BYTES = 512 << 20  # of memory: a dictionary may ask for 4 GiB
DAMAGE = (gzip.BadGzipFile, EOFError, ValueError, zlib.error, lzma.LZMAError)


def unpack(path: Path, kind: str, scratch: Path | None) -> BinaryIO:
    """The content of a compressed file, to be read at random.

    Args:
        path: of the file.
        kind: one of `READERS`.
        scratch: a folder with room for it; None takes the system's.

    Raises:
        DataError: it is damaged, or grows beyond all bounds.
        OSError: the disk's own.
    """
    folder = scratch if scratch is not None and scratch.is_dir() else None
    file = tempfile.TemporaryFile(dir=folder)
    try:
        _copy(path, READERS[kind](path), file)
    except BaseException:
        file.close()
        raise
    return file


def _copy(path: Path, parts: Iterator[bytes], file: BinaryIO) -> None:
    size = 0
    try:
        for part in parts:
            size += len(part)
            check_growth(path, size)
            file.write(part)
    except DAMAGE as error:
        raise damage(path, error) from None
    except OSError as error:
        if error.errno is not None:  # of the disk; bzip2's damage has no number
            raise
        raise damage(path, error) from None
    file.flush()


def check_growth(path: Path, size: int) -> None:
    """Refuse an archive that unpacks to so many bytes; raises DataError."""
    packed = path.stat().st_size
    if size > max(_MIN_LIMIT_BYTES, _MAX_GROWTH * packed):
        raise DataError(
            f"an archive unpacks to at most {_MAX_GROWTH} times its bytes, got {path} of "
            f"{show_size(packed)}, which goes beyond; unpack it into a folder where you trust it"
        )


def damage(path: Path, error: BaseException) -> DataError:
    """The error for an archive that cannot be read."""
    return DataError(
        f"an archive is a whole tar (plain, gzip, bzip2, xz) or zip, got {path} ({error}); fetch "
        f"it again"
    )


def _gzip_parts(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as file:
        while part := file.read(_COPIED_AT_ONCE):
            yield part


def _bzip2_parts(path: Path) -> Iterator[bytes]:
    with bz2.open(path) as file:
        while part := file.read(_COPIED_AT_ONCE):
            yield part


def _xz_parts(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        data = b""
        while data := data or file.read(_COPIED_AT_ONCE):
            stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_XZ_BYTES)
            while not stream.eof:
                if stream.needs_input:
                    data = data or file.read(_COPIED_AT_ONCE)
                    if not data:
                        raise EOFError("it ends early")
                yield stream.decompress(data, _COPIED_AT_ONCE)
                data = b""
            data = stream.unused_data.lstrip(b"\0")  # streams are padded with zeros


READERS = {"gzip": _gzip_parts, "bzip2": _bzip2_parts, "xz": _xz_parts}
