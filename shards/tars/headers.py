"""Walks the headers of a tar that may be hostile: forwards only, in bounded time and memory.

Python's tarfile believes what a header says: sizes below zero lead it in circles, long names and
PAX headers are read at any length, and what it raises at damage is nearly anything.
"""

import io
import re
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

# Of a long name or a PAX header. The longest path of a system has 4 KiB.
_MAX_HEADER_BYTES = 64 << 10
_MAX_DIGITS = 1_000  # in a row: tarfile's search takes their square


class TarHeaders:
    """The entries of an uncompressed tar; once they have been iterated, `end` is where they end."""

    def __init__(self, file: BinaryIO) -> None:
        self._headers = _Headers(file)
        self.end = 0  # of the last entry's data; blocks of zeros should follow

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Yield every entry.

        Raises:
            tarfile.TarError: no tar, a damaged header, or data beyond the file's end.
            OSError: the disk's own.
        """
        try:
            with tarfile.open(fileobj=self._headers, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    # What it remembers of each entry is more than we do.
                    tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
                    _check(info, self._headers.size_bytes)
                    yield info
                self.end = tar.offset
        except (tarfile.TarError, OSError):
            raise
        except Exception as error:  # see above
            reason = f"a header cannot be read, {type(error).__name__}: {error}"
            raise tarfile.ReadError(reason) from None


def _check(info: tarfile.TarInfo, file_size_bytes: int) -> None:
    if info.issparse():
        raise tarfile.ReadError(f"{info.name!r} is stored with holes, not as it is")
    if info.size < 0 or (info.isreg() and info.offset_data + info.size > file_size_bytes):
        raise tarfile.ReadError(f"unexpected end of data: {info.name!r} of {info.size:,} bytes")


class _Headers(io.RawIOBase):
    """The file as tarfile needs it: a place of its own, and only reads that a header needs."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self.size_bytes = file.seek(0, io.SEEK_END)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes, over {_MAX_HEADER_BYTES:,}")
        self._file.seek(self._at)
        data = self._file.read(size)
        self._at += len(data)
        if size > _MAX_DIGITS and max(map(len, re.findall(rb"\d+", data)), default=0) > _MAX_DIGITS:
            raise tarfile.ReadError(f"a header with over {_MAX_DIGITS:,} digits in a row")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._at:
            raise tarfile.ReadError("a header that leads back")
        self._at = min(offset, self.size_bytes)
        return self._at

    def tell(self) -> int:
        return self._at
