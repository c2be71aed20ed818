"""Archives of images, opened to be read member by member: tars, compressed or not, and zips.

A plain tar and a zip are read where they lie, in the workers. A compressed tar can only be read
from its start, and samples are packed in a shuffled order; so it is unpacked first (unpack.py).
"""

import functools
import os
import re
import shlex
import stat
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from shards.errors import DataError, UsageError
from shards.samples.image_header import ImageError
from shards.sources.raw import LazyPayload, Payload
from shards.sources.unpack import DAMAGE, READERS, check_growth, damage, unpack
from shards.tars.local_files import Descriptor
from shards.tars.members import TarMember, read_members, split_name

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
# x.zip.001, x.tar.gz.aa, x.tar.part1: as split, 7z and browsers call the pieces of one file.
_PIECE = re.compile(r"(.+\.(?:tar|t?gz|bz2|xz|zip|7z))\.(?:\d{2,3}|[a-f][a-z]|part-?\d*)", re.I)
_MAX_MEMBER_BYTES = 1 << 30
_ENCRYPTED = 0x1 | 0x40  # flags of a zip's member (APPNOTE 4.4.4)
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_OTHER_METHODS = {9: "Deflate64", 93: "zstd", 95: "xz", 98: "PPMd", 99: "AES"}  # 4.4.5


class Archive(Protocol):
    """The members of one file."""

    members: list[TarMember]

    def read(self, member: TarMember) -> bytes:
        """The data of a member; raises ImageError or OSError."""
        ...

    def payload(self, member: TarMember) -> Payload | LazyPayload:
        """The same, or what reads it in a worker."""
        ...


def open_archive(path: Path, scratch: Path | None) -> Archive:
    """Open an archive of any kind that is read here.

    Args:
        path: of the file; what it is its content says, not its name.
        scratch: a folder where a compressed tar has room; None takes the system's.

    Raises:
        UsageError: a format that is not read here.
        DataError: it is damaged, no archive, or grows beyond all bounds.
    """
    _refuse_piece(path)
    kind = compression_of(path)
    if kind is None:
        return _Tar(path)
    if kind == "zip":
        return _Zip(path)
    if kind in READERS:
        return _UnpackedTar(path, kind, scratch)
    raise UsageError(
        f"an archive is a tar (plain, gzip, bzip2, xz) or a zip, got {path} ({kind}); unpack it "
        f"into a folder and give that"
    )


def _refuse_piece(path: Path) -> None:
    """Refuse one of the files that an archive was split into; raises UsageError."""
    named = _PIECE.fullmatch(path.name)
    if named:
        whole, remedy = named[1], f"cat {shlex.quote(named[1])}.* > {shlex.quote(named[1])}"
    elif path.suffix.lower() == ".zip" and path.with_suffix(".z01").exists():
        whole = f"{path.stem}-whole.zip"
        remedy = f"zip -s 0 {shlex.quote(path.name)} --out {shlex.quote(whole)}"
    else:
        return
    raise UsageError(
        f"an archive is one file, got {path}, one of the pieces it was split into; join them "
        f"({remedy}) and give {path.with_name(whole)}"
    )


def compression_of(path: Path) -> str | None:
    """In which way a file is packed, by its first bytes; None when in none that is known."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise DataError(
            f"an archive must be readable, got {path} ({error.strerror}); mend its permissions"
        ) from None
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


class _Tar:
    """A plain tar; its members are read by the workers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with open(path, "rb") as file:
            self.members = _members(path, file)

    def read(self, member: TarMember) -> bytes:
        return _read_part(self._path, member.offset, member.size)

    def payload(self, member: TarMember) -> Payload | LazyPayload:
        return partial(_read_part, self._path, member.offset, member.size)


class _UnpackedTar:
    """A compressed tar, in a file without a name: only this process can read it."""

    def __init__(self, path: Path, kind: str, scratch: Path | None) -> None:
        with unpack(path, kind, scratch) as file:
            self.members = _members(path, file)
            self._content = Descriptor(os.dup(file.fileno()))

    def read(self, member: TarMember) -> bytes:
        _check_size(member.size)
        return os.pread(self._content.number, member.size, member.offset)

    def payload(self, member: TarMember) -> Payload | LazyPayload:
        if member.size > _MAX_MEMBER_BYTES:
            return partial(_check_size, member.size)
        return self.read(member)


def _members(path: Path, file: BinaryIO) -> list[TarMember]:
    try:
        return read_members(file, str(path))
    except DataError as error:
        raise damage(path, error.__context__ or error) from None


class _Zip:
    """A zip; the offset of a member is its place in the zip's directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            infos = _open_zip(path).infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise damage(path, error) from None
        check_growth(path, sum(info.file_size for info in infos))
        self.members = [m for i, info in enumerate(infos) for m in self._member(i, info)]

    def read(self, member: TarMember) -> bytes:
        return _read_zipped(self._path, member.offset)

    def payload(self, member: TarMember) -> Payload | LazyPayload:
        return partial(_read_zipped, self._path, member.offset)

    def _member(self, number: int, info: zipfile.ZipInfo) -> Iterator[TarMember]:
        name = info.filename.replace("\\", "/")
        split = split_name(name)
        if split and not info.is_dir():
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            problem = "a symbolic link, which is not followed in a zip" if is_link else ""
            problem = problem or _foreign(info)
            yield TarMember(name, *split, number, info.file_size, is_link, problem)


def _foreign(info: zipfile.ZipInfo) -> str:
    """Why a member cannot be read by anybody here; empty when it can."""
    if info.flag_bits & _ENCRYPTED:
        return "encrypted: unpack the zip with its password, and give the folder"
    if info.compress_type not in _ZIP_METHODS:
        how = _OTHER_METHODS.get(info.compress_type, f"method {info.compress_type}")
        return f"compressed by {how}, which is not read here: unpack the zip, and give the folder"
    return ""


def _open_zip(path: Path) -> zipfile.ZipFile:
    state = path.stat()
    return _opened_zip(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _opened_zip(path: Path, _size: int, _time: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _read_zipped(path: Path, number: int) -> bytes:
    archive = _open_zip(path)
    info = archive.infolist()[number]
    _check_size(info.file_size)
    try:
        with archive.open(info) as file:
            return file.read(info.file_size)  # without a number it would believe the data
    except (*DAMAGE, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ImageError(f"it cannot be read from its zip ({error})") from None


def _read_part(path: Path, offset: int, size: int) -> bytes:
    _check_size(size)
    with open(path, "rb") as file:
        return os.pread(file.fileno(), size, offset)


def _check_size(size: int) -> bytes:
    if size > _MAX_MEMBER_BYTES:
        raise ImageError(f"the file has over {_MAX_MEMBER_BYTES:,} bytes")
    return b""
