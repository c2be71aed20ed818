"""A tar as WebDataset reads it: members, the key and extension of each, samples of equal keys.

It is stricter than other tar readers in one thing: a tar that stops early or breaks off into noise
is an error, not a shorter tar.

The grouping follows webdataset's `base_plus_ext` and `group_by_keys` (webdataset/tariterators.py,
1.0.2).
"""

import contextlib
import io
import re
import shlex
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike, fspath
from typing import BinaryIO

from shards.errors import DataError
from shards.format import TAR_BLOCK_BYTES
from shards.tars.headers import TarHeaders
from shards.tars.links import TarLinks, is_link

_KEY_AND_EXTENSION = re.compile(r"((?:.*/|)[^./][^./]*)[.]([^/]*)", re.DOTALL)
_META = re.compile(r"__[^/]*__($|/)")
_EXTENDED_HEADERS = (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME)
_TYPE_AT = 156  # byte of a header that says what kind of entry it is
_TAIL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file in a tar that belongs to a sample: a regular one, or a link to one."""

    name: str  # as stored
    key: str  # the name up to the first dot of its last part
    extension: str  # the rest, in lower case
    offset: int  # of the data, for a link that of its target
    size: int  # bytes
    is_link: bool = False
    problem: str = ""  # why a link has no data here


def split_name(name: str) -> tuple[str, str] | None:
    """Key and lower-case extension of a member; None for what belongs to no sample.

    That is: names without an extension, names that start with a dot, and `__meta__` entries.
    """
    match = _KEY_AND_EXTENSION.fullmatch(name)
    if match is None or _META.match(name):
        return None
    return match[1], match[2].lower()


def iter_members(path: str | PathLike[str]) -> Iterator[TarMember]:
    """The members that belong to samples, in the tar's order, reading headers only.

    Links are members with the data that they lead to (links.py).

    Raises:
        DataError: the file is missing, is no (uncompressed) tar, or does not end as a tar does.
    """
    with open_shard(path) as file:
        return iter(read_members(file, fspath(path)))


def read_members(file: BinaryIO, name: str) -> list[TarMember]:
    """As `iter_members`, of an open file; `name` is what to call it."""
    members: list[TarMember | tarfile.TarInfo] = []
    others: list[tarfile.TarInfo] = []  # links without an extension, such as to a folder
    links = TarLinks()
    try:
        headers = TarHeaders(file)
        for info in headers:
            links.add(info)
            split = split_name(info.name)
            if is_link(info):
                (members if split else others).append(info)
            elif split and info.isreg():
                members.append(TarMember(info.name, *split, info.offset_data, info.size))
        _check_end(file, headers.end, name)
    except tarfile.TarError as error:
        raise DataError(
            f"a shard must be a whole uncompressed tar, got {name} ({error}); copy it again, "
            "remove it, or pack it when it is compressed: python -m tools.make_shards "
            f"{shlex.quote(str(name))} OUT"
        ) from None
    found = [
        member if isinstance(member, TarMember) else _linked(member, links) for member in members
    ]
    dead = (_linked(link, links) for link in others if not _is_hidden(link.name))
    return found + [link for link in dead if link.problem]


def _linked(link: tarfile.TarInfo, links: TarLinks) -> TarMember:
    key, extension = split_name(link.name) or (link.name, "")
    found = links.find(link)
    offset, size = (0, 0) if isinstance(found, str) else found
    problem = found if isinstance(found, str) else ""
    return TarMember(link.name, key, extension, offset, size, is_link=True, problem=problem)


def _is_hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".") or _META.match(name) is not None


def open_shard(path: str | PathLike[str]) -> BinaryIO:
    """Open a tar for reading; raises DataError where it cannot be."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise DataError(
            f"a shard must be a readable file, got {fspath(path)} ({error.strerror}); restore it "
            f"or change its permissions"
        ) from None


def iter_samples(path: str | PathLike[str]) -> Iterator[list[TarMember]]:
    """Yield samples: runs of neighbouring members with the same key.

    Raises:
        DataError: as `iter_members`; also when a key comes twice, apart or with the same extension.
    """
    return group_members(iter_members(path), fspath(path))


def group_members(members: Iterable[TarMember], name: str) -> Iterator[list[TarMember]]:
    """As `iter_samples`, of the members of a tar; `name` is what to call it."""
    seen: set[str] = set()
    sample: list[TarMember] = []
    for member in members:
        if sample and member.key != sample[0].key:
            yield sample
            sample = []
        again = not sample and member.key in seen
        if again or any(member.extension == other.extension for other in sample):
            raise DataError(
                f"a key names one sample of its tar, members side by side, got {member.name} a "
                f"second time for {member.key!r} in {name}; write it again, sorted by name, or "
                f"make each image a sample: python -m tools.make_shards DIR --image-key each"
            )
        seen.add(member.key)
        sample.append(member)
    if sample:
        yield sample


def member_name(before: bytes) -> str:
    """Name of the member whose data follows `before`.

    Args:
        before: whole blocks, the last one the header; 16 of them reach any usual long name.

    Raises:
        DataError: there is no tar header.
    """
    start = len(before) - TAR_BLOCK_BYTES
    # A long name stands in a header of its own, with data, before the one that names a stub.
    for first in range(0, start, TAR_BLOCK_BYTES):
        header = _extended_header(before[first : first + TAR_BLOCK_BYTES])
        if header and first + TAR_BLOCK_BYTES * (1 + -(-header.size // TAR_BLOCK_BYTES)) == start:
            start = first
            break
    try:
        with tarfile.open(fileobj=io.BytesIO(before[start:]), mode="r:") as tar:
            info = tar.next()
    except Exception:  # tarfile raises nearly anything at damage
        info = None
    if info is None:
        raise DataError("a tar header stands before the data of a sample, got none")
    return info.name


def _extended_header(block: bytes) -> tarfile.TarInfo | None:
    if block[_TYPE_AT : _TYPE_AT + 1] not in _EXTENDED_HEADERS:
        return None
    with contextlib.suppress(tarfile.TarError):
        return tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")


def _check_end(file: BinaryIO, offset: int, name: str) -> None:
    """The end is a block of zeros and only zeros; Python takes a torn header for the end too."""
    file.seek(offset)
    tail = file.read(_TAIL_BYTES)
    if len(tail) < TAR_BLOCK_BYTES or tail.strip(b"\0"):
        raise DataError(
            f"a shard must end with blocks of zeros, got {len(tail):,} other bytes at byte "
            f"{offset:,} of {name}: it is cut off or damaged there; copy it again or remove it"
        )
