"""One tar against its part of the index: sizes, hashes, checksums, pixels, labels, nothing extra.

The tar is walked with Python's `tarfile` and not with the code that made the index, so that a
mistake there does not confirm itself (`shard_members.py`).
"""

import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ImageOps

from shards.format import NO_LABEL, Manifest, ShardInfo
from shards.remote.address import RemoteFolder
from shards.remotecache.cached_files import CachedFiles
from shards.samples.image_header import IMAGE_ENDINGS, ImageError, check_values, load, open_image
from shards.samples.labels import MAX_TEXT_BYTES, NoLabel, label_from_text
from shards.samples.masks import mask_offsets, read_mask
from shards.tars.file_names import name_in
from shards.tars.local_files import sha256_of
from shards.terminal.counted import agreed, counted
from shards.upkeep.shard_members import Member, list_members


@dataclass(frozen=True, slots=True)
class ShardJob:
    """The facts to compare, small enough to send to another process."""

    directory: Path | RemoteFolder
    info: ShardInfo
    index_sha256: str  # of the index it belongs to
    first_id: int
    records: np.ndarray  # [N] INDEX_DTYPE - of this shard
    classes: tuple[str, ...]
    decode: bool  # also decode every image in full
    is_packed: bool = False  # by us: a `.json` keeps the name of the image's file


@dataclass(slots=True)
class ShardReport:
    """The result; its keys serve to compare shards with each other."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what is not wrong, and should be known
    keys: list[str] = field(default_factory=list)  # of the images that are indexed


def check_shard(job: ShardJob) -> ShardReport:
    """Compare a tar with its records; problems are returned, not raised."""
    report = ShardReport()
    try:
        with _open(job) as file:
            report.problems += _whole_file_problems(file, job.info)
            _compare_members(file, job, report)
    except OSError as error:
        report.problems.append(f"cannot be read: {error.strerror}")
    report.problems = [f"{job.info.name}: {problem}" for problem in report.problems]
    report.notes = [f"{job.info.name}: {note}" for note in report.notes]
    return report


def _open(job: ShardJob) -> BinaryIO:
    if not isinstance(job.directory, RemoteFolder):
        return open(job.directory / job.info.name, "rb")
    alone = Manifest((job.info,), job.classes, index_sha256=job.index_sha256)
    files = CachedFiles(job.directory, alone)
    return os.fdopen(files.open_whole(0), "rb")


def _whole_file_problems(file: BinaryIO, info: ShardInfo) -> Iterator[str]:
    size_bytes = file.seek(0, 2)
    if size_bytes != info.size_bytes:
        yield f"{counted(size_bytes, 'byte')}, must be {info.size_bytes:,}"
    elif info.sha256 is not None:
        found = sha256_of(file.fileno())
        if found != info.sha256:
            yield f"sha256 is {found[:12]}..., must be {info.sha256[:12]}..."


def _compare_members(file: BinaryIO, job: ShardJob, report: ShardReport) -> None:
    """Meet each record at its member; a link and its target have two of one offset."""
    masks = dict(zip(mask_offsets(job.records).tolist(), job.records, strict=True))
    masks.pop(-1, None)
    expected: dict[int, list[np.void]] = defaultdict(list)
    for record in job.records[::-1]:
        expected[int(record["offset"])].append(record)
    labels: dict[Member, int] = {}  # of the indexed images
    strays: list[Member] = []  # images that no record points at
    members, problem = list_members(file)
    report.problems += [problem] if problem else []
    kept = {member.key: member for member in members if member.ending == "json" and job.is_packed}

    def named(image: Member) -> str:
        """The file that an image was, for those who have to find it."""
        place = kept.get(image.key)
        name = name_in(_read(file, place)) if place and place.size <= MAX_TEXT_BYTES else None
        return f" ({name})" if name else ""

    for member in members:
        if expected[member.offset] and not member.problem and not member.is_label:
            record = expected[member.offset].pop()
            report.keys.append(member.stem)
            labels[member] = int(record["label"])
            report.problems += (
                f"{member.name}{named(member)}: {problem}"
                for problem in _image_problems(file, member, record, job)
            )
        elif member.offset in masks:
            report.problems += _mask_problems(file, member, masks.pop(member.offset))
        elif member.ending in IMAGE_ENDINGS or (member.problem and not member.is_label):
            strays.append(member)
    _report_strays(file, strays, {member.key for member in labels}, report)
    if job.info.sha256 is not None:
        report.problems += [
            f"{key}: {count} samples have this key"
            for key, count in Counter(report.keys).items()
            if count > 1
        ]
    report.problems += _label_problems(file, labels, members, job.classes, named)
    if masks:
        report.problems.append(
            f"{counted(len(masks), 'mask')} of the index {agreed(len(masks), 'is', 'are')} not "
            "there"
        )
    offsets = [offset for offset, left in expected.items() for _ in left]
    if offsets:
        ids = job.first_id + np.flatnonzero(np.isin(job.records["offset"], offsets))
        report.problems.append(
            f"{counted(len(offsets), 'sample')} of the index {agreed(len(offsets), 'is', 'are')} "
            f"not there (ids {ids.min()} to {ids.max()})"
        )


def _report_strays(
    file: BinaryIO, strays: list[Member], indexed_keys: set[str], report: ShardReport
) -> None:
    """Images in no index are wrong, unless another one stands for their sample."""
    num_further = 0
    for member in strays:
        if member.problem:
            report.problems.append(f"{member.name}: not in the index ({member.problem})")
        elif member.key in indexed_keys:
            num_further += 1
        else:
            report.problems.append(_stray(file, member))
    if num_further:
        report.notes.append(
            f"{counted(num_further, 'image')} {agreed(num_further, 'is', 'are')} not in the index: "
            "another one of their sample is"
        )


def _image_problems(file: BinaryIO, info: Member, record: np.void, job: ShardJob) -> Iterator[str]:
    if info.size != record["size"]:
        yield f"{counted(info.size, 'byte')}, must be {record['size']:,}"
        return
    encoded = _read(file, info)
    crc32 = zlib.crc32(encoded)
    if crc32 != record["crc32"]:
        yield f"crc32 is {crc32:08x}, must be {record['crc32']:08x}"
    try:
        image = open_image(encoded)
        if not job.decode:
            return
        load(image)
    except ImageError as error:
        yield str(error)
        return
    # Orientation in XMP counts nowhere in this project, as in no decoder but Pillow.
    for name in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(name, None)
    width, height = ImageOps.exif_transpose(image).size
    if (height, width) != (record["height"], record["width"]):
        yield f"{height}x{width} pixels, must be {record['height']}x{record['width']}"


def _mask_problems(file: BinaryIO, info: Member, record: np.void) -> Iterator[str]:
    try:
        read_mask(_read(file, info), int(record["height"]), int(record["width"]))
    except ImageError as error:
        yield f"{info.name}: {error}"


def _stray(file: BinaryIO, info: Member) -> str:
    """Say why an image is in no index, if that is its own fault."""
    try:
        check_values(open_image(_read(file, info)))
    except ImageError as error:
        return f"{info.name}: not in the index ({error})"
    return f"{info.name}: not in the index"


def _label_problems(
    file: BinaryIO,
    labels: dict[Member, int],
    members: list[Member],
    classes: tuple[str, ...],
    file_of: Callable[[Member], str],
) -> Iterator[str]:
    """The class in a `.cls` of an image's name, up to its last dot or first, must be its label."""
    places = {m.stem: m for m in members if m.ending == "cls" and m.size <= MAX_TEXT_BYTES}
    named_elsewhere = {m.key for m in members if m.ending == "json"}
    for image, label in labels.items():
        place = places.get(image.stem) or places.get(image.key)
        if place is None or place.problem:
            continue
        data = _read(file, place)
        try:
            found = label_from_text(data)
        except ValueError:
            found = data.decode(errors="replace")
        if isinstance(found, NoLabel):
            if label == NO_LABEL or image.key in named_elsewhere:
                continue
            found = found.why
        named = classes[label] if 0 <= label < len(classes) else None
        if str(found) not in (str(label), named):
            yield f"{place.name}{file_of(image)}: {str(found)!r}, must be {label} or {named!r}"


def _read(file: BinaryIO, info: Member) -> bytes:
    file.seek(info.offset)
    return file.read(info.size)
