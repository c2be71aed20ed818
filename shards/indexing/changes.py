"""Are the tars still those that an index was made of? Asked without reading them; read in doubt.

What the disk said of every tar when it was last known to agree with the index is kept in
`.times.json`, beside the index or, where that cannot be written, in the user's cache folder:

    size and time of change as before      the same, nothing is read
    another time                           every byte is read once: other content, or only a copy
    the same, but the file was touched     (renamed, copied with its time, a new owner): a part is
                                           read, up to SPOT_CHECK_BYTES of the folder
    nothing is kept                        a tar that is older than the manifest is the same; of
                                           newer ones as much is read as if they had another time,
                                           of hashed ones (a download comes in any order) a part
"""

import contextlib
import json
import logging
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shards.atomic import write_whole
from shards.errors import DataError
from shards.format import MANIFEST_NAME, NO_LABEL, TIMES_NAME, Manifest, ShardInfo
from shards.indexing.scan_tar import TarScan, scan_tar
from shards.indexing.tar_folder import TarState
from shards.processes.parallel import run_jobs, with_bar
from shards.samples.image_key import image_key_of
from shards.tars.local_files import sha256_of

SPOT_CHECK_BYTES = 1 << 30
_log = logging.getLogger(__name__)
_SAME_COLUMNS = ["offset", "size", "crc32", "height", "width"]


@dataclass(frozen=True, slots=True)
class Doubts:
    """Tars that may have changed, by name."""

    changed: tuple[str, ...] = ()  # to be read in full
    touched: tuple[str, ...] = ()  # to be read in part
    is_kept: bool = True  # whether anything was kept about this index

    def __bool__(self) -> bool:
        return bool(self.changed or self.touched)


def doubts_about(
    places: Sequence[Path],  # of the index and of what is kept about it
    manifest: Manifest,
    tars: Mapping[str, TarState],  # of the manifest's names and sizes
) -> Doubts:
    """Tars that may differ from what the index says; no tar is read."""
    for place in places:
        kept = _read_times(place, manifest)
        if kept is not None:
            odd = [name for name, state in tars.items() if kept.get(name) != state]
            moved = {name for name in odd if _is_other_time(kept.get(name), tars[name])}
            return Doubts(
                tuple(name for name in odd if name in moved),
                tuple(name for name in odd if name not in moved),
            )
    indexed_ns = (places[0] / MANIFEST_NAME).stat().st_mtime_ns
    newer = tuple(name for name, state in tars.items() if state.modified_ns > indexed_ns)
    return Doubts(touched=newer, is_kept=False) if manifest.sealed else Doubts(newer, (), False)


def keep_times(places: Sequence[Path], manifest: Manifest, tars: Mapping[str, TarState]) -> None:
    """Remember that these tars agree with the index, in the first place that can be written."""
    content = {
        "index_sha256": manifest.index_sha256,
        "tars": {name: [s.size_bytes, s.modified_ns, s.touched_ns] for name, s in tars.items()},
    }
    for place in places:
        # Where nothing can be written the same is looked at next time.
        with contextlib.suppress(DataError, OSError):
            place.mkdir(parents=True, exist_ok=True)
            write_whole(place / TIMES_NAME, json.dumps(content) + "\n")
            return


def first_other(
    folder: Path,
    manifest: Manifest,
    records: np.ndarray,  # [N] INDEX_DTYPE
    doubts: Doubts,
    *,
    progress: bool = False,
    go_on: bool = False,
) -> str | None:
    """Read the doubtful tars: what is other than the index says in the first of them, or None.

    With `go_on`, tars that differ in the bytes of single images only, some of them unreadable or
    all of them hashed when packed, are damaged and not others: they are named in a warning, since
    the run leaves out what cannot be used.
    """
    names = {*doubts.changed, *_spot_check(manifest, doubts.touched)}
    ends = np.cumsum([shard.num_samples for shard in manifest.shards])
    image_key = image_key_of(manifest)
    jobs = [
        _Job(
            folder / shard.name,
            shard,
            _rows(records, shard, int(end)),
            manifest.classes,
            image_key,
        )
        for shard, end in zip(manifest.shards, ends, strict=True)
        if shard.name in names
    ]
    sizes = [job.info.size_bytes for job in jobs]
    results = run_jobs(_difference, jobs, size_bytes=sum(sizes))
    found = dict(with_bar(results, "comparing", sizes, show=progress))
    others = [found[position] for position in sorted(found) if found[position].text]
    # Who changes images leaves images that can be read; a disk that fails does not.
    failed = manifest.sealed or any(other.is_unreadable for other in others)
    if go_on and failed and all(other.is_damage for other in others):
        for other in others:
            _log.warning(
                "%s in %s: some of its images are damaged, labels and places are as they were; "
                "python -m tools.check_shards names them, data.verify=true leaves them out",
                other.text,
                folder,
            )
        return None
    return others[0].text if others else None


@dataclass(frozen=True, slots=True)
class _Other:
    """Differences between a tar and its index."""

    text: str = ""  # empty: nothing is
    is_damage: bool = False  # only bytes of single images
    is_unreadable: bool = False  # some are no images any more


@dataclass(frozen=True, slots=True)
class _Job:
    path: Path
    info: ShardInfo
    records: np.ndarray  # [N] INDEX_DTYPE - of this tar
    classes: tuple[str, ...]
    image_key: str


def _rows(records: np.ndarray, shard: ShardInfo, end: int) -> np.ndarray:
    """A copy of a shard's records, of which the last is before `end`."""
    return np.array(records[end - shard.num_samples : end])


def _difference(job: _Job) -> _Other:
    name = job.info.name
    try:
        if job.info.sha256 is not None and sha256_of(job.path) == job.info.sha256:
            return _Other()
        scan = scan_tar(job.path, job.image_key)
    except (DataError, OSError) as error:
        return _Other(f"{name} changed: {error}")
    if job.info.sha256 is not None:
        return _Other(f"{name} with other content", _is_damaged_only(job, scan))
    is_same = len(scan.records) == len(job.records) and np.array_equal(
        scan.records[_SAME_COLUMNS], job.records[_SAME_COLUMNS]
    )
    if not is_same:
        damaged = _is_damaged_only(job, scan)
        return _Other(f"{name} holds other images", damaged, damaged and bool(scan.refused))
    return _Other() if _has_labels(job, scan, job.records) else _Other(f"{name} holds other labels")


def _is_damaged_only(job: _Job, scan: TarScan) -> bool:
    """Whether all that can still be read as images are where they were, with their labels."""
    rows = np.searchsorted(job.records["offset"], scan.records["offset"])
    if not len(rows) or rows.max() >= len(job.records):
        return False
    known = job.records[rows]
    return (
        len(scan.records) + len(scan.refused) == len(job.records)
        and np.array_equal(scan.records[["offset", "size"]], known[["offset", "size"]])
        and _has_labels(job, scan, known)
    )


def _has_labels(job: _Job, scan: TarScan, records: np.ndarray) -> bool:
    labels = zip(scan.labels, records["label"].tolist(), strict=True)
    classes = {name: number for number, name in enumerate(job.classes)}
    return all(_is_label(label, number, classes) for label, number in labels)


def _is_label(label: int | str | None, number: int, classes: Mapping[str, int]) -> bool:
    """Whether a tar's label has this class number for sure.

    Among names a number is a name too. Where that could be meant and would be another class, the
    answer is no: indexing anew decides it.
    """
    if label is None:
        return number == NO_LABEL
    named = classes.get(str(label), label)
    return named == number and (isinstance(label, str) or label == number or label >= len(classes))


def _spot_check(manifest: Manifest, names: Sequence[str]) -> list[str]:
    """Some of the tars, spread over the folder: the first few may all have been spared."""
    sizes = {shard.name: shard.size_bytes for shard in manifest.shards}
    chosen: list[str] = []
    left = SPOT_CHECK_BYTES
    for name in sorted(names, key=lambda name: zlib.crc32(os.fsencode(name))):
        if chosen and sizes[name] > left:
            continue
        chosen.append(name)
        left -= sizes[name]
    return chosen


def _read_times(place: Path, manifest: Manifest) -> dict[str, TarState] | None:
    """The record kept about this very index; None when there is none."""
    try:
        content = json.loads((place / TIMES_NAME).read_text(encoding="utf-8"))
        if content["index_sha256"] != manifest.index_sha256:
            return None
        return {name: TarState(*map(int, state)) for name, state in content["tars"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _is_other_time(kept: TarState | None, now: TarState) -> bool:
    if kept is None:
        return True
    return (kept.size_bytes, kept.modified_ns) != (now.size_bytes, now.modified_ns)
