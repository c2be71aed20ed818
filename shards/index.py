"""The index of a folder of tars: every sample of every shard by one number, opened in an instant.

Everything downstream asks it: the order says which ids come, the plan is drawn from `sizes(ids)`,
and the reader finds the bytes. Opening maps one array and compares what the disk says of the tars
with what it said when they were indexed; no tar is read unless that differs
(`indexing/changes.py`). A folder without an index is scanned once.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import DataError
from shards.files import Files, open_files
from shards.format import INDEX_NAME, Entry, Manifest, ShardInfo
from shards.indexing.local_index import index_anew, local_index
from shards.indexing.tar_folder import local_folder
from shards.order import SampleOrder
from shards.remote.address import DEFAULT_WINDOW_SHARDS, Location, RemoteFolder, remote_folder
from shards.remote.remote_index import fetch_index
from shards.remote.several_folders import SeveralFolders, remote_parts
from shards.samples.masks import mask_offsets
from shards.store import write_index
from shards.tars.file_names import read_file_name
from shards.terminal.counted import counted

__all__ = ["ShardIndex", "build_index", "write_index"]


class ShardIndex:
    """A read-only table of samples, ids 0 to N-1; shared by threads, cheap to pickle.

    Of several folders a `MixedIndex` (`mixture/mixed_index.py`) is one.
    """

    directory: Path | RemoteFolder | SeveralFolders

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
        return cls(folder, *local_index(folder, progress=progress))

    def __len__(self) -> int:
        """Samples, N."""
        return len(self.records)

    @property
    def folder(self) -> Path | RemoteFolder:
        """The directory of a set that is no mixture."""
        assert not isinstance(self.directory, SeveralFolders)
        return self.directory

    @property
    def epoch_samples(self) -> int:
        """Samples of an epoch: all of them, once."""
        return len(self)

    def entry(self, sample_id: int) -> Entry:
        """One sample in plain numbers; raises IndexError outside [0, N)."""
        record = self.rows(np.array([sample_id]))[0]
        names = ("shard", "offset", "size", "crc32", "label", "height", "width")
        return Entry(int(sample_id), *(int(record[name]) for name in names))

    def key(self, sample_id: int) -> str:
        """The sample's key, read from its tar: the member's name up to the extension."""
        record = self.rows(np.array([sample_id]))[0]
        return self._files.key(int(record["shard"]), int(record["offset"]))

    def keys(self, ids: np.ndarray | Sequence[int]) -> list[str]:
        """The samples' keys, [B]; raises as `names`."""
        rows = self.rows(np.asarray(ids, np.int64))
        places = zip(rows["shard"].tolist(), rows["offset"].tolist(), strict=True)
        return [self._files.key(shard, offset) for shard, offset in places]

    def names(self, ids: np.ndarray | Sequence[int]) -> list[str]:
        """The names of the samples' files in the source they were packed from, [B].

        Of tars that were indexed in place, and of sources without files, the keys.

        Raises:
            IndexError: an id outside [0, N).
            DataError: the tar is not what the index says.
            OSError: it cannot be read.
        """
        if not self.manifest.is_packed:
            return self.keys(ids)
        rows = self.rows(np.asarray(ids, np.int64))
        columns = (rows[name].tolist() for name in ("shard", "offset", "size"))
        places = zip(*columns, mask_offsets(rows).tolist(), strict=True)
        return [read_file_name(self._files.read, *place) for place in places]

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
                f"{INDEX_NAME} must tell of the {counted(len(self.shards), 'shard')} of its "
                f"manifest, got shard {shard} for {self.directory}; delete it to have it rebuilt "
                "from the tars"
            )
        return rows

    def chunk(self, first: int, end: int) -> np.ndarray:
        """Records of the samples first to end-1, not to be written to; mapped, not copied."""
        return np.asarray(self.records[first:end])

    def column(self, name: str) -> np.ndarray:
        """One field of INDEX_DTYPE of every sample, [N]."""
        return self.records[name]

    def spread(self, number: int) -> np.ndarray:
        """Ids [B] int64 of about so many samples, evenly spaced: what stands for the set."""
        ids = np.linspace(0, len(self) - 1, min(number, len(self)))
        return np.unique(ids.astype(np.int64))

    def shard_name(self, shard: int) -> str:
        """The name of a shard in a message."""
        return self.shards[shard].name

    def sizes(self, ids: np.ndarray) -> np.ndarray:
        """Height and width of the upright images, [B, 2] int32."""
        return sizes_of(self.rows(ids))

    def labels(self, ids: np.ndarray) -> np.ndarray:
        """Class numbers, [B] int32, NO_LABEL where there is none."""
        return labels_of(self.rows(ids))

    def order(self, seed: int) -> SampleOrder:
        """The order in which a run takes the samples when nothing else is said.

        Everything is shuffled together; of a remote folder, a few shards at a time.
        """
        is_remote = remote_parts(self.directory)
        return self.windowed_order(seed, DEFAULT_WINDOW_SHARDS if is_remote else None)

    def windowed_order(self, seed: int, window_shards: int | None) -> SampleOrder:
        """The order with windows of so many shards; None shuffles everything together."""
        sizes = [shard.num_samples for shard in self.shards]
        return SampleOrder(len(self), seed, shard_sizes=sizes, window_shards=window_shards)

    def open_files(self) -> Files:
        """The bytes of the shards, for a reader; nothing is opened before it is read."""
        return open_files(self.folder, self.manifest)

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process maps the same files again instead of receiving their content.
        return ShardIndex.open, (self.directory,)

    def __repr__(self) -> str:
        return (
            f"ShardIndex({self.directory}: {counted(len(self), 'sample')}, "
            f"{counted(len(self.shards), 'shard')}, {counted(len(self.classes), 'class')}, "
            f"{self.fingerprint[:12]})"
        )


def sizes_of(
    rows: np.ndarray,  # [B] INDEX_DTYPE
) -> np.ndarray:
    """Height and width of the upright images of some records, [B, 2] int32."""
    return np.stack([rows["height"], rows["width"]], axis=-1).astype(np.int32)


def labels_of(
    rows: np.ndarray,  # [B] INDEX_DTYPE
) -> np.ndarray:
    """Class numbers of some records, [B] int32, NO_LABEL where there is none."""
    return rows["label"].astype(np.int32)


def build_index(
    directory: str | os.PathLike[str],
    *,
    image_key: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> ShardIndex:
    """Scan the tars of a folder and write their index, replacing the one there is.

    What could not be an image is left out and listed in `quarantine.jsonl` beside the index.

    Args:
        directory: a local folder.
        image_key: which member of a sample is its image (`samples/image_key.py`); None takes
            what the index that is there was made with.
        overwrite: also where tars that were hashed when written have changed; they are indexed as
            they are, those without a hash.
        progress: show a bar on a terminal.

    Raises:
        UsageError: not a local folder.
        DataError: as `ShardIndex.open`; torn tars and duplicate keys are all named.
    """
    folder = local_folder(directory)
    return ShardIndex(
        folder, *index_anew(folder, image_key, overwrite=overwrite, progress=progress)
    )
