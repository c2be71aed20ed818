"""From tars to one table: scan them side by side, number the shards and the classes.

Nothing is written here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from shards.errors import DataError
from shards.format import Manifest, ShardInfo, version_of
from shards.indexing.scan_tar import TarScan, scan_tars
from shards.processes.parallel import with_bar
from shards.samples.image_key import image_key_of
from shards.samples.labels import number_classes, tell_unlabelled
from shards.samples.oddities import DEEP
from shards.samples.quarantine import Refused
from shards.sources.raw import fingerprint_of
from shards.store import cache_folder, read_manifest
from shards.tars.local_files import sha256_of
from shards.terminal.counted import counted

_SHOWN_ERRORS = 5
_TOOL = "index"  # in the manifest of tars that came from elsewhere
_REMEDIES = {
    DEEP: " (from the range of their format; values of fewer bits come out dark: pack such tars "
    "into a folder OUT with --value-range)"
}


def scan_folder(
    folder: Path,
    tars: Mapping[str, int],
    *,
    image_key: str | None = None,
    progress: bool = False,
) -> tuple[np.ndarray, Manifest, list[Refused]]:
    """Scan the tars of a folder.

    Args:
        folder: where they are.
        tars: file name to size in bytes, in the order in which shards are numbered.
        image_key: which member of a sample is its image (`samples/image_key.py`); None takes
            what the index that is there was made with.
        progress: show a bar on a terminal.

    Returns:
        [N] INDEX_DTYPE records, the manifest, and the samples that were left out.

    Raises:
        DataError: no sample is left, or tars are torn or hold a key twice; all of these are named.
    """
    previous = read_manifest(folder)
    image_key = image_key or image_key_of(previous or read_manifest(cache_folder(folder)))
    scans = _scan_all([folder / name for name in tars], image_key, progress)
    for number, scan in enumerate(scans):
        scan.records["shard"] = number
    records = np.concatenate([scan.records for scan in scans])
    refused = [item for scan in scans for item in scan.refused]
    if not len(records):
        why = f" ({refused[0].name}: {refused[0].reason})" if refused else ""
        raise DataError(
            f"shards hold images, got none in {counted(len(tars), 'tar')} of {folder}{why}"
        )
    labels = [label for scan in scans for label in scan.labels]
    records["label"], classes = number_classes(labels, previous.classes if previous else ())
    shards = _describe(folder, tars, scans, previous.shards if previous else ())
    made = {"tool": _TOOL, "augengine": version_of("augengine"), "image_key": image_key}
    if any(any(scan.mask_crcs) for scan in scans):
        made["masks"] = fingerprint_of(str(crc) for scan in scans for crc in scan.mask_crcs)
    manifest = Manifest(shards, classes, {**made, "notes": list(_notes(scans, len(records)))})
    # Of the same shards, only the index was lost: how they were made is still true.
    is_same = previous is not None and previous.shards == shards
    if previous is not None and is_same and previous.made.get("tool") != _TOOL:
        manifest = replace(manifest, made=previous.made)
    return records, manifest, refused


def told_notes(manifest: Manifest) -> list[str]:
    """Sentences for the user about the images of an index, from when it was made."""
    notes = manifest.made.get("notes", ())
    return [str(note) for note in notes] if isinstance(notes, list | tuple) else []


def _notes(scans: Sequence[TarScan], num_images: int) -> Iterator[str]:
    """Sentences for the user about images that are in the index."""
    unlabelled = tell_unlabelled(sum((scan.unlabelled for scan in scans), Counter()), num_images)
    if unlabelled:
        yield unlabelled
    for what, count in sum((scan.odd for scan in scans), Counter()).most_common():
        yield f"{counted(count, 'image')}: {what}, whenever read{_REMEDIES.get(what, '')}"


def _scan_all(paths: Sequence[Path], image_key: str, progress: bool) -> list[TarScan]:
    scans: dict[int, TarScan] = {}
    errors: dict[int, DataError] = {}
    sizes = [path.stat().st_size for path in paths]
    results = scan_tars(paths, image_key=image_key)
    for position, result in with_bar(results, "indexing", sizes, show=progress):
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
