"""A scan of tars: a record of every image, its label, and what had to be left out.

The index builder scans tars that came without an index; the packer scans what it wrote. Every image
is read once for its checksum and its header is parsed for its size; pixels are not decoded here.
"""

import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from shards.errors import DataError
from shards.format import INDEX_DTYPE, NO_LABEL
from shards.processes.parallel import run_jobs
from shards.samples.image_header import ImageError, check_values, open_image, upright_size
from shards.samples.image_key import AUTO, EACH, Sample, choose_images, each_image
from shards.samples.labels import NoLabel, read_label
from shards.samples.masks import mask_step
from shards.samples.oddities import oddities
from shards.samples.quarantine import Refused
from shards.tars.members import TarMember, group_members, open_shard, read_members

_MAX_IMAGE_BYTES = (1 << 32) - 1  # of the index's uint32


@dataclass(frozen=True, slots=True)
class TarScan:
    """One tar's samples, in the tar's order."""

    records: np.ndarray  # [N] INDEX_DTYPE - shard and label still to be filled in
    keys: tuple[str, ...]  # [N]
    labels: tuple[int | str | None, ...]  # [N] class number, class name or nothing
    refused: tuple[Refused, ...]  # images that are left out
    unlabelled: Counter[str]  # images without a label, by the reason
    odd: Counter[str]  # images that are not 8-bit RGB, by what is made of them
    mask_crcs: tuple[int, ...] = ()  # [N] of each sample's mask, 0 without one


def scan_tar(path: str | os.PathLike[str], image_key: str = AUTO) -> TarScan:
    """Read one tar from end to end.

    Args:
        path: of the tar.
        image_key: which member of a sample is its image (`samples/image_key.py`).

    Raises:
        DataError: the tar is missing, torn or no tar, or a key comes twice.
    """
    name = Path(path).name
    scan = TarScan(np.empty(0, INDEX_DTYPE), (), (), (), Counter(), Counter())
    rows: list[tuple[int, ...]] = []
    keys: list[str] = []
    labels: list[int | str | None] = []
    refused: list[Refused] = []
    mask_crcs: list[int] = []
    with open_shard(path) as file:
        members = read_members(file, os.fspath(path))
        for sample in _samples(members, os.fspath(path), image_key):
            if isinstance(sample, Refused):
                refused.append(Refused(f"{name}:{sample.name}", sample.reason))
                continue
            try:
                row, odd = _record(file, sample)
                label = read_label(partial(_read, file), sample.labels)
            except ImageError as error:
                refused.append(Refused(f"{name}:{sample.key}", str(error)))
                continue
            if isinstance(label, NoLabel):
                scan.unlabelled[label.why] += 1
                label = None
            scan.odd.update(odd)
            rows.append(row)
            keys.append(sample.key)
            mask_crcs.append(zlib.crc32(_read(file, sample.mask)) if sample.mask else 0)
            labels.append(label)
    records = np.array(rows, dtype=INDEX_DTYPE)
    return replace(
        scan,
        records=records,
        keys=tuple(keys),
        labels=tuple(labels),
        refused=tuple(refused),
        mask_crcs=tuple(mask_crcs),
    )


def scan_tars(
    paths: Sequence[Path], workers: int | None = None, image_key: str = AUTO
) -> Iterator[tuple[int, TarScan | DataError]]:
    """Scan tars in parallel, yielding (position in `paths`, result) as they finish.

    A tar that cannot be read yields its error, so that a caller can name all of them at once.
    """
    size_bytes = sum(path.stat().st_size for path in paths)
    yield from run_jobs(
        partial(_scan_or_error, image_key), paths, size_bytes=size_bytes, workers=workers
    )


def _scan_or_error(image_key: str, path: Path) -> TarScan | DataError:
    try:
        return scan_tar(path, image_key)
    except DataError as error:
        return error


def _samples(members: Sequence[TarMember], path: str, image_key: str) -> Iterator[Sample | Refused]:
    if image_key != EACH:
        return choose_images(group_members(members, path), image_key)
    [(name, count)] = Counter(member.name for member in members).most_common(1) or [("", 0)]
    if count > 1:
        raise DataError(
            f"a name comes once in its tar, got {name} {count} times in {path}; write it again"
        )
    return each_image(members)


def _record(file: BinaryIO, sample: Sample) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The image's record, in the order of INDEX_DTYPE, and what is odd about it."""
    image, mask = sample.image, sample.mask
    if image.size > _MAX_IMAGE_BYTES:
        raise ImageError(f"the file has over {_MAX_IMAGE_BYTES:,} bytes")
    encoded = _read(file, image)
    opened = open_image(encoded)
    check_values(opened)
    odd = oddities(opened)  # before a TIFF's orientation has it decoded
    height, width = upright_size(opened)
    step = 0 if mask is None else mask_step(image.offset, mask.offset)
    row = image.offset, image.size, zlib.crc32(encoded), 0, NO_LABEL, height, width, step
    return row, odd


def _read(file: BinaryIO, member: TarMember) -> bytes:
    file.seek(member.offset)
    return file.read(member.size)
