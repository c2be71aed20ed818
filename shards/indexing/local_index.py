"""The index of a folder on a disk: the one that lies there, if it is still true, or a new one.

An index lies beside its tars or, where they cannot be written, in the user's cache folder. Whether
it is still true `changes.py` tells. Of an address, `remote/remote_index.py` does the same.
"""

import logging
import shlex
from pathlib import Path

import numpy as np

from shards.errors import DataError
from shards.format import INDEX_NAME, MANIFEST_NAME, Manifest
from shards.indexing.changes import Doubts, doubts_about, first_other, keep_times
from shards.indexing.scan_folder import scan_folder, told_notes
from shards.indexing.tar_folder import TarState, tar_states
from shards.samples.image_key import tell_further
from shards.samples.quarantine import read_quarantine, tell_refused, write_quarantine
from shards.store import (
    cache_folder,
    folder_to_write,
    locked,
    map_records,
    read_manifest,
    write_index,
)
from shards.terminal.counted import counted

_log = logging.getLogger(__name__)
Index = tuple[np.ndarray, Manifest]  # [N] INDEX_DTYPE, memory-mapped, and what describes it


def local_index(folder: Path, *, progress: bool = False) -> Index:
    """Records and manifest of a folder of tars, built first where there are none that are true.

    Raises:
        DataError: no tars, tars that were hashed when written and have changed, a torn tar,
            duplicate keys, or nowhere to put an index.
    """
    known = _known(folder)
    if known is not None:
        return known
    with locked(_place_to_lock(folder)):
        # Another process may have looked or built while this one waited.
        known = _known(folder, look=True, progress=progress)
        if known is not None:
            return known
        index = index_anew(folder, progress=progress)
        for note in index_notes(folder, index[1]):
            _log.warning("%s: %s", folder, note)
        return index


def index_notes(folder: Path, manifest: Manifest) -> list[str]:
    """Sentences on what an index that was made here left out, and on what it holds."""
    place = folder_to_write(folder)
    refused = read_quarantine(place)
    left_out = [tell_refused(refused, place)] if refused else []
    return [*left_out, *tell_further(refused), *told_notes(manifest)]


def index_anew(
    folder: Path, image_key: str | None = None, *, overwrite: bool = False, progress: bool = False
) -> Index:
    """Scan the tars and write their index, replacing the one there is; raises as `local_index`.

    Tars that were hashed when written must be as they were, unless `overwrite`.
    """
    tars = tar_states(folder)  # before they are read: a change meanwhile is a change
    sizes = {name: state.size_bytes for name, state in tars.items()}
    place = folder_to_write(folder)
    previous = None if overwrite else read_manifest(folder)
    if previous is not None and previous.sealed:
        _refuse(folder, _first_change(previous, sizes))
    records, manifest, refused = scan_folder(folder, sizes, image_key=image_key, progress=progress)
    if previous is not None and previous.sealed and not manifest.sealed:
        other = next(shard.name for shard in manifest.shards if shard.sha256 is None)
        _refuse(folder, f"{other} with other content")
    # Of a set that was packed and is the same, the list of its packing stays true.
    if previous is None or not previous.sealed:
        write_quarantine(place, refused)
    manifest = write_index(place, records, manifest)
    keep_times([place], manifest, tars)
    mapped = map_records(place, len(records))
    return (records if mapped is None else mapped), manifest


def _known(folder: Path, *, look: bool = False, progress: bool = False) -> Index | None:
    """The index of a folder as it is; None when there is none, or only by reading tars (`look`)."""
    tars = tar_states(folder)
    cache = cache_folder(folder)
    doubtful = []
    for place in (folder, cache):
        known = _load(folder, place, tars, quiet=look)
        if known is None:
            continue
        places = list(dict.fromkeys((place, cache)))
        doubts = doubts_about(places, known[1], tars)
        if not doubts:
            if not doubts.is_kept:
                keep_times(places, known[1], tars)
            return known
        doubtful.append((known, places, doubts))
    for known, places, doubts in doubtful if look else ():
        if _is_still_so(folder, known, doubts, is_beside=places[0] == folder, progress=progress):
            keep_times(places, known[1], tars)
            return known
    return None


def _is_still_so(
    folder: Path, index: Index, doubts: Doubts, *, is_beside: bool, progress: bool
) -> bool:
    """Read the doubtful tars, and say so when it is more than a part of them."""
    records, manifest = index
    if doubts.changed:
        _log.warning(
            "%d of %d tars of %s have another time than when they were indexed (%s); they are "
            "read once, to see whether they are the same",
            len(doubts.changed),
            len(manifest.shards),
            folder,
            doubts.changed[0],
        )
    other = first_other(folder, manifest, records, doubts, progress=progress, go_on=True)
    if other is None:
        if doubts.changed:
            _log.warning("the index of %s stays", folder)
        return True
    if manifest.sealed and is_beside:
        _refuse(folder, other)
    _log.warning("the index of %s is rebuilt: %s", folder, other)
    return False


def _load(
    folder: Path, place: Path, tars: dict[str, TarState], *, quiet: bool = False
) -> Index | None:
    """The index that lies in `place` if it tells of tars of these names and sizes."""
    manifest = read_manifest(place)
    if manifest is None:
        return None
    change = _first_change(manifest, {name: state.size_bytes for name, state in tars.items()})
    if manifest.sealed and place == folder:
        _refuse(folder, change)
    records = None if change else map_records(place, manifest.num_samples)
    if records is None:
        if not quiet:
            what = change or f"no whole {INDEX_NAME}"
            _log.warning("the index of %s is rebuilt: %s", folder, what)
        return None
    return records, manifest


def _first_change(manifest: Manifest, tars: dict[str, int]) -> str | None:
    known = {shard.name: shard.size_bytes for shard in manifest.shards}
    if known == tars:
        return None
    for name in sorted(known | tars):
        if name not in tars:
            return f"{name} missing"
        if name not in known:
            return f"{name} added"
        if known[name] != tars[name]:
            return f"{name} of {counted(tars[name], 'byte')} instead of {known[name]:,}"
    return None


def _refuse(folder: Path, change: str | None) -> None:
    if change:
        raise DataError(
            f"hashed shards never change, got {change} in {folder}; restore it, or delete "
            f"{MANIFEST_NAME} there to index the tars as they are (as `python -m tools.make_shards "
            f"{shlex.quote(str(folder))} --overwrite` does)"
        )


def _place_to_lock(folder: Path) -> Path:
    # An index that is there is used where nothing can be written.
    try:
        return folder_to_write(folder)
    except DataError:
        return folder
