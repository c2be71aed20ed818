"""What is in the tars: a record of every image, its label, and what had to be left out.

The index builder scans tars that came without an index; the packer scans what it wrote. Every image
is read once for its checksum and its header is parsed for its size; pixels are not decoded here.
"""

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from shards.errors import DataError
from shards.format import INDEX_DTYPE, NO_LABEL
from shards.image import IMAGE_EXTENSIONS, ImageError, open_image, upright_size
from shards.parallel import run_jobs
from shards.quarantine import Refused
from shards.tar import TarMember, iter_samples, open_shard

_MAX_IMAGE_BYTES = (1 << 32) - 1  # of the index's uint32
_MAX_LABEL = (1 << 31) - 1
_MAX_TEXT_BYTES = 1 << 20  # of a label's member: captions have room, bombs have not


@dataclass(frozen=True, slots=True)
class TarScan:
    """One tar's samples, in the tar's order."""

    records: np.ndarray  # [N] INDEX_DTYPE - shard and label still to be filled in
    keys: tuple[str, ...]  # [N]
    labels: tuple[int | str | None, ...]  # [N] class number, class name or nothing
    refused: tuple[Refused, ...]  # samples that are left out


def scan_tar(path: str | os.PathLike[str]) -> TarScan:
    """Read one tar from end to end.

    Raises:
        DataError: the tar is missing, torn or no tar, or a key comes twice.
    """
    name = Path(path).name
    rows: list[tuple[int, ...]] = []
    keys: list[str] = []
    labels: list[int | str | None] = []
    refused: list[Refused] = []
    with open_shard(path) as file:
        for sample in iter_samples(path):
            try:
                image = find_image(sample)
                row = _record(file, image)
                label = read_label(file, sample)
            except ImageError as error:
                refused.append(Refused(f"{name}:{sample[0].key}", str(error)))
                continue
            rows.append(row)
            keys.append(sample[0].key)
            labels.append(label)
    records = np.array(rows, dtype=INDEX_DTYPE)
    return TarScan(records, tuple(keys), tuple(labels), tuple(refused))


def scan_tars(
    paths: Sequence[Path], workers: int | None = None
) -> Iterator[tuple[int, TarScan | DataError]]:
    """Scan tars in parallel, yielding (position in `paths`, result) as they finish.

    A tar that cannot be read yields its error, so that a caller can name all of them at once.
    """
    size_bytes = sum(path.stat().st_size for path in paths)
    yield from run_jobs(_scan_or_error, paths, size_bytes=size_bytes, workers=workers)


def find_image(sample: Sequence[TarMember]) -> TarMember:
    """The sample's first member with an image extension; ImageError when there is none."""
    for member in sample:
        if member.extension in IMAGE_EXTENSIONS:
            return member
    found = ", ".join(member.extension for member in sample)
    raise ImageError(f"no member is an image ({found})")


def read_label(file: BinaryIO, sample: Sequence[TarMember]) -> int | str | None:
    """The sample's class from `.cls` (a number or a name) or from `label` in its `.json`.

    Numbers below zero, as some data sets mark what has no class, and labels of other kinds (boxes,
    several classes, fractions) give None.

    Raises:
        ImageError: the label is there and cannot be read.
    """
    members = {member.extension: member for member in sample}
    for extension in ("cls", "json"):
        if extension in members and members[extension].size > _MAX_TEXT_BYTES:
            raise ImageError(f"its .{extension} has over {_MAX_TEXT_BYTES:,} bytes")
    try:
        if "cls" in members:
            label = _read(file, members["cls"]).decode().strip()
            label = int(label) if label.lstrip("+-").isdecimal() else label
        elif "json" in members:
            content = json.loads(_read(file, members["json"]))
            label = content.get("label") if isinstance(content, dict) else None
        else:
            return None
    except (ValueError, RecursionError) as error:
        raise ImageError(f"its label cannot be read ({error})") from None
    return _checked_label(label)


def _scan_or_error(path: Path) -> TarScan | DataError:
    try:
        return scan_tar(path)
    except DataError as error:
        return error


def _record(file: BinaryIO, image: TarMember) -> tuple[int, ...]:
    if image.size > _MAX_IMAGE_BYTES:
        raise ImageError(f"the file has over {_MAX_IMAGE_BYTES:,} bytes")
    encoded = _read(file, image)
    height, width = upright_size(open_image(encoded))
    # In the order of INDEX_DTYPE.
    return image.offset, image.size, zlib.crc32(encoded), 0, NO_LABEL, height, width, 0


def _read(file: BinaryIO, member: TarMember) -> bytes:
    file.seek(member.offset)
    return file.read(member.size)


def _checked_label(label: object) -> int | str | None:
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, bool) or not isinstance(label, int | str) or label == "":
        return None
    if isinstance(label, str):
        return label
    if label > _MAX_LABEL:
        raise ImageError(f"its label must be at most {_MAX_LABEL:,}, got {label}")
    return label if label >= 0 else None
