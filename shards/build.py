"""From tars to one table: scan them side by side, number the shards and the classes.

`index.py` calls it for a folder that came without an index and writes what it returns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from shards.changes import sha256_of
from shards.errors import DataError
from shards.format import NO_LABEL, Manifest, ShardInfo
from shards.parallel import with_bar
from shards.quarantine import Refused
from shards.scan import TarScan, scan_tars
from shards.store import read_manifest
from shards.versions import version_of

# Larger class numbers are ids of something: they are kept, and no names are made up for them.
_MAX_NUMBERED_CLASSES = 1_000_000
_SHOWN_ERRORS = 5


def scan_folder(
    folder: Path, tars: Mapping[str, int], *, progress: bool = False, workers: int | None = None
) -> tuple[np.ndarray, Manifest, list[Refused]]:
    """Scan the tars of a folder.

    Args:
        folder: where they are.
        tars: file name to size in bytes, in the order in which shards are numbered.
        progress: show a bar on a terminal.
        workers: processes; None takes one a core.

    Returns:
        [N] INDEX_DTYPE records, the manifest, and the samples that were left out.

    Raises:
        DataError: no sample is left, or tars are torn or hold a key twice; all of these are named.
    """
    scans = _scan_all([folder / name for name in tars], progress, workers)
    for number, scan in enumerate(scans):
        scan.records["shard"] = number
    records = np.concatenate([scan.records for scan in scans])
    refused = [item for scan in scans for item in scan.refused]
    if not len(records):
        why = f" ({refused[0].name}: {refused[0].reason})" if refused else ""
        raise DataError(f"shards hold images, got none in {len(tars)} tars of {folder}{why}")
    previous = read_manifest(folder)
    labels = [label for scan in scans for label in scan.labels]
    records["label"], classes = number_classes(labels, previous.classes if previous else ())
    shards = _describe(folder, tars, scans, previous.shards if previous else ())
    manifest = Manifest(shards, classes, {"tool": "index", "augengine": version_of("augengine")})
    # Of the same shards, only the index was lost: how they were made is still true.
    if previous is not None and previous.shards == shards:
        manifest = replace(manifest, made=previous.made)
    return records, manifest, refused


def number_classes(
    labels: Sequence[int | str | None], known: Sequence[str] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turn labels into class numbers and names.

    Numbers stay as they are; with a name among them all labels count as names, numbered in sorted
    order.

    Args:
        labels: [N] a class number, a class name, or nothing.
        known: names of the class numbers from elsewhere, used where they are enough.

    Returns:
        [N] int32 class numbers, NO_LABEL for nothing, and the name of each class.
    """
    if any(isinstance(label, str) for label in labels):
        classes = tuple(sorted({str(label) for label in labels if label is not None}))
        number = {name: i for i, name in enumerate(classes)}
        numbers = [NO_LABEL if label is None else number[str(label)] for label in labels]
        return np.array(numbers, dtype=np.int32), classes
    numbers = np.array([NO_LABEL if label is None else label for label in labels], dtype=np.int32)
    num_classes = int(numbers.max(initial=NO_LABEL)) + 1
    if num_classes <= len(known):
        return numbers, tuple(known)
    if num_classes > _MAX_NUMBERED_CLASSES:
        return numbers, ()
    return numbers, tuple(str(i) for i in range(num_classes))


def _scan_all(paths: Sequence[Path], progress: bool, workers: int | None) -> list[TarScan]:
    scans: dict[int, TarScan] = {}
    errors: dict[int, DataError] = {}
    sizes = [path.stat().st_size for path in paths]
    for position, result in with_bar(scan_tars(paths, workers), "indexing", sizes, show=progress):
        if isinstance(result, DataError):
            errors[position] = result
        else:
            scans[position] = result
    if errors:
        lines = [str(errors[position]) for position in sorted(errors)]
        more = f"; and {len(lines) - _SHOWN_ERRORS} more" if len(lines) > _SHOWN_ERRORS else ""
        raise DataError("; ".join(lines[:_SHOWN_ERRORS]) + more)
    return [scans[position] for position in range(len(paths))]


def _describe(
    folder: Path,
    tars: Mapping[str, int],
    scans: Sequence[TarScan],
    previous: Sequence[ShardInfo],
) -> tuple[ShardInfo, ...]:
    """Describe the shards; a hash from when a tar was written outlives a lost index if it holds."""
    hashes = {(shard.name, shard.size_bytes): shard.sha256 for shard in previous}
    shards = []
    for (name, size), scan in zip(tars.items(), scans, strict=True):
        known = hashes.get((name, size))
        still = known is not None and sha256_of(folder / name) == known
        shards.append(ShardInfo(name, len(scan.records), size, known if still else None))
    return tuple(shards)
