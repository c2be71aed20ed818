"""The index of a folder of tars: every sample of every shard by one number, opened in an instant.

Everything downstream asks it: the order says which ids come, the plan is drawn from `sizes(ids)`,
and the reader finds the bytes. Opening maps one array and compares the tars' sizes with the
manifest; no tar is read. A folder without an index is scanned once.
"""

import logging
import os
from pathlib import Path

import numpy as np

from shards.build import scan_folder
from shards.errors import DataError
from shards.files import open_files
from shards.format import (
    INDEX_NAME,
    MANIFEST_NAME,
    Entry,
    Manifest,
    ShardInfo,
)
from shards.localfolder import list_tars, local_folder
from shards.order import SampleOrder
from shards.quarantine import tell_refused, write_quarantine
from shards.remote import Location, RemoteFolder, default_window, remote_folder
from shards.remoteindex import fetch_index
from shards.store import (
    cache_folder,
    folder_to_write,
    locked,
    map_records,
    read_manifest,
    write_index,
)

__all__ = ["ShardIndex", "build_index", "write_index"]

_log = logging.getLogger(__name__)


class ShardIndex:
    """A read-only table of samples, ids 0 to N-1; shared by threads, cheap to pickle."""

    def __init__(
        self, directory: Path | RemoteFolder, records: np.ndarray, manifest: Manifest
    ) -> None:
        """Use `open`; this takes what is known to be whole."""
        self.directory = directory
        self.records = records  # [N] INDEX_DTYPE, memory-mapped
        self.manifest = manifest
        self.shards: tuple[ShardInfo, ...] = manifest.shards
        self.classes: tuple[str, ...] = manifest.classes
        self.fingerprint: str = manifest.fingerprint
        self._files = open_files(directory, manifest)

    @classmethod
    def open(cls, directory: Location, *, progress: bool = False) -> "ShardIndex":
        """Open a folder of tars; where a local one has no index, it is built first.

        Args:
            directory: holds the tars, and beside them their index unless it cannot be written; an
                address is a `RemoteFolder` with its defaults.
            progress: show a bar on a terminal while building.

        Raises:
            UsageError: an address that cannot be read.
            DataError: no folder, no tars, tars that were hashed when written and have changed, a
                torn tar, duplicate keys, or nowhere to put an index; of a remote folder also no
                index or no answer.
        """
        remote = remote_folder(directory)
        if remote is not None:
            return cls(remote, *fetch_index(remote))
        folder = local_folder(directory)
        tars = list_tars(folder)
        for place in (folder, cache_folder(folder)):
            opened = _load(folder, place, tars)
            if opened is not None:
                return opened
        place = folder_to_write(folder)
        with locked(place):
            # Another process may have built it while this one waited.
            opened = _load(folder, place, tars, quiet=True)
            return build_index(folder, progress=progress) if opened is None else opened

    def __len__(self) -> int:
        """Samples, N."""
        return len(self.records)

    def entry(self, sample_id: int) -> Entry:
        """One sample in plain numbers; raises IndexError outside [0, N)."""
        record = self.rows(np.array([sample_id]))[0]
        names = ("shard", "offset", "size", "crc32", "label", "height", "width")
        return Entry(int(sample_id), *(int(record[name]) for name in names))

    def key(self, sample_id: int) -> str:
        """The sample's key, read from its tar: the member's name up to the extension."""
        record = self.rows(np.array([sample_id]))[0]
        return self._files.key(int(record["shard"]), int(record["offset"]))

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Records of some samples, [B] INDEX_DTYPE.

        Raises:
            IndexError: an id outside [0, N).
            DataError: the index is damaged: a sample lies in a shard that there is not.
        """
        ids = np.asarray(ids)
        if ids.size and not (0 <= ids.min() and ids.max() < len(self)):
            raise IndexError(
                f"sample ids must lie in [0, {len(self)}), got {ids.min()} to {ids.max()}"
            )
        rows = np.asarray(self.records)[ids]
        shard = int(rows["shard"].max(initial=0))
        if shard >= len(self.shards):
            raise DataError(
                f"{INDEX_NAME} must tell of the {len(self.shards)} shards of its manifest, got "
                f"shard {shard} for {self.directory}; delete it to have it rebuilt from the tars"
            )
        return rows

    def sizes(self, ids: np.ndarray) -> np.ndarray:
        """Height and width of the upright images, [B, 2] int32."""
        rows = self.rows(ids)
        return np.stack([rows["height"], rows["width"]], axis=-1).astype(np.int32)

    def labels(self, ids: np.ndarray) -> np.ndarray:
        """Class numbers, [B] int32, NO_LABEL where there is none."""
        return self.rows(ids)["label"].astype(np.int32)

    def order(self, seed: int) -> SampleOrder:
        """The order in which a run takes the samples when nothing else is said.

        Everything is shuffled together; of a remote folder, a few shards at a time.
        """
        return self.windowed_order(seed, default_window(self.directory))

    def windowed_order(self, seed: int, window_shards: int | None) -> SampleOrder:
        """The order with windows of so many shards; None shuffles everything together."""
        sizes = [shard.num_samples for shard in self.shards]
        return SampleOrder(len(self), seed, shard_sizes=sizes, window_shards=window_shards)

    def __reduce__(self) -> tuple[object, tuple[Path | RemoteFolder]]:
        # A worker process maps the same files again instead of receiving their content.
        return ShardIndex.open, (self.directory,)

    def __repr__(self) -> str:
        return (
            f"ShardIndex({self.directory}: {len(self):,} samples, {len(self.shards)} shards, "
            f"{len(self.classes)} classes, {self.fingerprint[:12]})"
        )


def build_index(
    directory: str | os.PathLike[str], *, image_key: str | None = None, progress: bool = False
) -> ShardIndex:
    """Scan the tars of a folder and write their index, replacing the one there is.

    What could not be an image is left out and listed in `quarantine.jsonl` beside the index.

    Args:
        directory: holds the tars.
        image_key: which member of a sample is its image (samples.py); None takes what the index
            that is there was made with.
        progress: show a bar on a terminal.

    Raises:
        UsageError: not a local folder.
        DataError: as `ShardIndex.open`; torn tars and duplicate keys are all named.
    """
    folder = local_folder(directory)
    tars = list_tars(folder)
    place = folder_to_write(folder)
    records, manifest, refused = scan_folder(
        folder, tars, image_key=image_key, progress=progress
    )
    if refused:
        _log.warning("%s: %s", folder, tell_refused(refused, place))
    write_quarantine(place, refused)
    manifest = write_index(place, records, manifest)
    mapped = map_records(place, len(records))
    return ShardIndex(folder, records if mapped is None else mapped, manifest)


def _load(
    folder: Path, place: Path, tars: dict[str, int], *, quiet: bool = False
) -> ShardIndex | None:
    """The index that lies in `place` if it describes the folder as it is."""
    manifest = read_manifest(place)
    if manifest is None:
        return None
    change = _first_change(manifest, tars)
    if change and manifest.sealed and place == folder:
        raise DataError(
            f"hashed shards never change, got {change} in {folder}; restore it, or delete "
            f"{MANIFEST_NAME} there to index the tars as they are"
        )
    records = None if change else map_records(place, manifest.num_samples)
    if records is None:
        if not quiet:
            what = change or f"no whole {INDEX_NAME}"
            _log.warning("the index of %s is rebuilt: %s", folder, what)
        return None
    return ShardIndex(folder, records, manifest)


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
            return f"{name} of {tars[name]:,} bytes instead of {known[name]:,}"
    return None
