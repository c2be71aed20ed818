"""One tar against its part of the index: sizes, hashes, checksums, pixels, labels, nothing extra.

`verify.py` runs it for every shard of a folder, in processes. The tar is walked with Python's
`tarfile` and not with the code that made the index, so that a mistake there does not confirm
itself.
"""

import hashlib
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ImageOps

from shards.cachedfiles import CachedFiles
from shards.format import NO_LABEL, Manifest, ShardInfo
from shards.image import IMAGE_EXTENSIONS, ImageError, load, open_image
from shards.remote import RemoteFolder
from shards.tar import split_name
from shards.tarheaders import TarHeaders

_HASHED_AT_ONCE = 8 << 20


@dataclass(frozen=True, slots=True)
class ShardJob:
    """What to compare: small enough to send to another process."""

    directory: Path | RemoteFolder
    info: ShardInfo
    index_sha256: str  # of the index it belongs to
    first_id: int
    records: np.ndarray  # [N] INDEX_DTYPE - of this shard
    classes: tuple[str, ...]
    decode: bool  # also decode every image in full


@dataclass(slots=True)
class ShardReport:
    """What was found; the keys are for comparing shards with each other."""

    problems: list[str] = field(default_factory=list)
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
        yield f"{size_bytes:,} bytes, must be {info.size_bytes:,}"
    elif info.sha256 is not None:
        file.seek(0)
        sha = hashlib.sha256()
        while chunk := file.read(_HASHED_AT_ONCE):
            sha.update(chunk)
        if sha.hexdigest() != info.sha256:
            yield f"sha256 is {sha.hexdigest()[:12]}..., must be {info.sha256[:12]}..."


def _compare_members(file: BinaryIO, job: ShardJob, report: ShardReport) -> None:
    """Walk the tar once, meeting each record at its member."""
    expected = {int(record["offset"]): record for record in job.records}
    labels: dict[str, int] = {}  # of the indexed images
    texts: dict[str, str] = {}  # of the `.cls` members
    strays: list[tuple[str, tarfile.TarInfo]] = []  # key and image that no record points at
    for info in _regular_members(file, report):
        split = split_name(info.name)
        record = expected.pop(info.offset_data, None)
        if split is None:
            continue
        key, extension = split
        if record is not None:
            report.keys.append(key)
            labels[key] = int(record["label"])
            report.problems += (
                f"{info.name}: {problem}" for problem in _image_problems(file, info, record, job)
            )
        elif extension in IMAGE_EXTENSIONS:
            strays.append((key, info))
        elif extension == "cls":
            texts[key] = _read(file, info).decode(errors="replace").strip()
    report.problems += [_stray(file, info) for key, info in strays if key not in labels]
    report.problems += [
        f"{key}: {count} samples have this key"
        for key, count in Counter(report.keys).items()
        if count > 1
    ]
    report.problems += _label_problems(labels, texts, job.classes)
    if expected:
        offsets = job.records["offset"]
        ids = job.first_id + np.flatnonzero(np.isin(offsets, list(expected)))
        report.problems.append(
            f"{len(ids):,} samples of the index are not there (ids {ids.min()} to {ids.max()})"
        )


def _regular_members(file: BinaryIO, report: ShardReport) -> Iterator[tarfile.TarInfo]:
    file.seek(0)
    try:
        headers = TarHeaders(file)
        yield from (info for info in headers if info.isreg())
        file.seek(headers.end)
        end = file.read(2 * tarfile.BLOCKSIZE)
    except tarfile.TarError as error:
        report.problems.append(f"not a whole tar ({error})")
        return
    if len(end) < tarfile.BLOCKSIZE or any(end):
        report.problems.append(f"cut off or damaged at byte {headers.end:,}")


def _image_problems(
    file: BinaryIO, info: tarfile.TarInfo, record: np.void, job: ShardJob
) -> Iterator[str]:
    if info.size != record["size"]:
        yield f"{info.size:,} bytes, must be {record['size']:,}"
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


def _stray(file: BinaryIO, info: tarfile.TarInfo) -> str:
    """Say why an image is in no index, if that is its own fault."""
    try:
        open_image(_read(file, info))
    except ImageError as error:
        return f"{info.name}: not in the index ({error})"
    return f"{info.name}: not in the index"


def _label_problems(
    labels: dict[str, int], texts: dict[str, str], classes: tuple[str, ...]
) -> Iterator[str]:
    for key, text in texts.items():
        label = labels.get(key)
        if label is None:
            continue
        named = classes[label] if 0 <= label < len(classes) else None
        unlabelled = label == NO_LABEL and (text == "" or text.startswith("-"))
        if text not in (str(label), named) and not unlabelled:
            yield f"{key}.cls: {text!r}, must be {label} or {named!r}"


def _read(file: BinaryIO, info: tarfile.TarInfo) -> bytes:
    file.seek(info.offset_data)
    return file.read(info.size)
