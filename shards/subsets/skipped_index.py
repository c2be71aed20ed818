"""An index without some samples: the set as it would be, had they not been packed.

Ids count what is left, so order, resume and everything downstream go on as ever; the fingerprint is
another one than the whole set's. `data.skip_list` of a run comes here.
"""

import hashlib
from dataclasses import replace

import numpy as np

from shards.errors import UsageError
from shards.index import ShardIndex
from shards.remote.address import Location, RemoteFolder
from shards.samples.skip_list import SkipList
from shards.sources.skipped import find_names, tell_lost

_CHUNK = 1 << 16  # names that are read at once


class SkippedIndex(ShardIndex):
    """The samples of an index that are not skipped, in its order; their records are in memory."""

    def __init__(
        self,
        index: ShardIndex,
        skipped: np.ndarray,  # [S] int64 - ids of `index`, ascending, each once
    ) -> None:
        is_kept = np.ones(len(index), bool)
        is_kept[skipped] = False
        records = np.asarray(index.records)[is_kept]
        counts = np.bincount(records["shard"], minlength=len(index.shards)).tolist()
        shards = tuple(
            replace(shard, num_samples=count)
            for shard, count in zip(index.shards, counts, strict=True)
        )
        digest = hashlib.sha256(index.fingerprint.encode() + skipped.astype("<i8").tobytes())
        manifest = replace(index.manifest, shards=shards, index_sha256=digest.hexdigest())
        super().__init__(index.folder, records, manifest)
        self.skipped = skipped

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _open_skipped, (self.folder, self.skipped)


def leave_out_samples(index: ShardIndex, skip: SkipList) -> ShardIndex:
    """The index without the images of a list.

    Raises:
        UsageError: the list names what is not there, several images at once, or all; or it is of
            another set, and this one lies where names cannot be looked up.
        DataError: the tars are not what the index says.
    """
    if not skip.lines:
        return index
    ids: list[int | None] = [None] * len(skip.lines)
    if skip.fingerprint == index.fingerprint:
        known = (line.id for line in skip.lines)
        ids = [number if number is not None and number < len(index) else None for number in known]
    if None in ids:
        ids = _by_name(index, skip)
    lost = [line for line, number in zip(skip.lines, ids, strict=True) if number is None]
    if lost:
        raise UsageError(tell_lost("data.skip_list", str(index.directory), skip, lost))
    skipped = np.unique(np.array(ids, np.int64))
    if len(skipped) == len(index):
        raise UsageError(f"data.skip_list leaves images to train on, got {skip.path} with all")
    return SkippedIndex(index, skipped)


def _by_name(index: ShardIndex, skip: SkipList) -> list[int | None]:
    """Ids by names, then by keys; every name is read from its tar."""
    if isinstance(index.directory, RemoteFolder):
        raise UsageError(
            f"a skip list of remote shards was made of these very shards, got {skip.path} for "
            f"{index.directory}; make it of their features, or pack them with --skip-list"
        )
    parts = np.array_split(np.arange(len(index)), max(1, len(index) // _CHUNK))
    ids = find_names(skip, [name for part in parts for name in index.names(part)])
    if None in ids and index.manifest.is_packed:
        keys = [key for part in parts for key in index.keys(part)]
        number = {key: i for i, key in enumerate(keys)}
        ids = [
            number.get(line.name) if found is None else found
            for line, found in zip(skip.lines, ids, strict=True)
        ]
    return ids


def _open_skipped(directory: Location, skipped: np.ndarray) -> SkippedIndex:
    """In another process."""
    return SkippedIndex(ShardIndex.open(directory), skipped)
