"""The members of a tar as a check sees them, by their own names and not by the index."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from shards.samples.image_key import LABEL_ENDINGS
from shards.tars.headers import TarHeaders
from shards.tars.links import TarLinks, is_link
from shards.tars.members import split_name


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of the tar, or a link with the data it leads to."""

    name: str
    key: str  # up to the first dot, as WebDataset has it
    stem: str  # up to the last
    ending: str
    offset: int
    size: int
    problem: str  # why a link has no data here

    @property
    def is_label(self) -> bool:
        """Whether it may hold a class."""
        return self.ending in LABEL_ENDINGS


def list_members(file: BinaryIO) -> tuple[list[Member], str]:
    """Members of a tar with data, or that should have some, in its order; and the tar's faults."""
    file.seek(0)
    links, found, problem = TarLinks(), [], ""
    try:
        headers = TarHeaders(file)
        for info in headers:
            links.add(info)
            if info.isreg() or is_link(info):
                found.append(info)
        file.seek(headers.end)
        end = file.read(2 * tarfile.BLOCKSIZE)
        if len(end) < tarfile.BLOCKSIZE or any(end):
            problem = f"cut off or damaged at byte {headers.end:,}"
    except tarfile.TarError as error:
        problem = f"not a whole tar ({error})"
    return [member for info in found for member in _member(info, links)], problem


def _member(info: tarfile.TarInfo, links: TarLinks) -> Iterator[Member]:
    split = split_name(info.name)
    place = links.find(info) if is_link(info) else (info.offset_data, info.size)
    if isinstance(place, str):
        last = info.name.rpartition("/")[2]
        if split is None and (last.startswith(".") or last.startswith("__")):
            return
    elif split is None:
        return
    key, extension = split or (info.name, "")
    ending = extension.rpartition(".")[2]
    stem = info.name[: -len(ending) - 1] if ending else info.name
    offset, size = (-1, 0) if isinstance(place, str) else place
    problem = place if isinstance(place, str) else ""
    yield Member(info.name, key, stem, ending, offset, size, problem)
