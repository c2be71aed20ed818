"""Cuts the images of some tars into other tars, bytes as they are, where one process would cut.

A tar that `ShardWriter` writes is a run of samples, then zeros. What a sample takes there does not
depend on its neighbours, so a shard of the set is made of stretches of the parts' tars, and which
ones follows from the sizes alone. Nothing is decoded.
"""

import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from shards.errors import DataError
from shards.format import TAR_BLOCK_BYTES, ShardInfo
from shards.packing.home import Home
from shards.packing.shard_writer import TAR_RECORD_BYTES
from shards.tars.local_files import sha256_of
from shards.tars.members import iter_members

_END_BYTES = 2 * TAR_BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class PartTar:
    """A tar of a part, as its journal has it."""

    home: Home
    path: Path
    info: ShardInfo
    part: str  # to be named
    bounds: np.ndarray | None  # [N + 1] int64 - of its samples; None where its maker wrote none


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some neighbouring samples of a tar."""

    path: Path
    start: int  # bytes
    stop: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A shard to be written."""

    home: Home
    path: Path
    stretches: tuple[Stretch, ...]
    records: np.ndarray  # [N] INDEX_DTYPE - offsets already those of the new tar

    @property
    def size_bytes(self) -> int:
        """Bytes to be copied."""
        return sum(stretch.stop - stretch.start for stretch in self.stretches)


def sample_bounds(tar: PartTar) -> np.ndarray:
    """Read a tar in full, and say where its samples begin, and the last ends: [N + 1] int64.

    Raises:
        DataError: it is not the one that its part was made of.
    """
    with tar.home.tar(tar.path, tar.info.size_bytes) as path:
        try:
            is_same = sha256_of(path) == tar.info.sha256
        except OSError:
            is_same = False
        bounds = None
        if is_same:
            bounds = _scanned_bounds(path) if tar.bounds is None else tar.bounds
    if bounds is None or not _are_bounds(bounds, tar.info):
        raise DataError(
            f"a part stays as it was made until it is joined, got other content in {tar.path}; "
            f"remove {tar.path.parents[1]} and make part {tar.part} again"
        )
    return bounds


def _scanned_bounds(path: Path) -> np.ndarray | None:
    """Of a part whose maker wrote none: by the headers of its tar."""
    members = list(iter_members(path))
    if not members:
        return None
    keys = [member.key for member in members]
    firsts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    starts = [members[i].offset - TAR_BLOCK_BYTES for i in firsts]
    last = members[-1]
    end = last.offset + -(-last.size // TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES
    return np.array([*starts, end], np.int64)


def _are_bounds(bounds: np.ndarray, info: ShardInfo) -> bool:
    is_length = len(bounds) == info.num_samples + 1 and len(bounds) > 1
    return is_length and bool(
        bounds[0] == 0 and (np.diff(bounds) > 0).all() and bounds[-1] <= info.size_bytes
    )


def first_samples(
    sizes: np.ndarray,  # [N] int64 - bytes that each sample takes
    shard_size_bytes: int,
) -> list[int]:
    """Numbers of the samples at which shards begin, and N at the end, as `PackRun` cuts."""
    ends = np.cumsum(sizes)
    room = shard_size_bytes // TAR_RECORD_BYTES * TAR_RECORD_BYTES - _END_BYTES
    firsts = [0]
    while firsts[-1] < len(sizes):
        begin = ends[firsts[-1]] - sizes[firsts[-1]]
        fitting = int(np.searchsorted(ends, begin + room, side="right"))
        firsts.append(max(fitting, firsts[-1] + 1))
    return firsts


def plan_cuts(
    home: Home,
    folder: Path,
    name: str,
    shard_size_bytes: int,
    tars: Sequence[PartTar],
    bounds: Sequence[np.ndarray],  # of each tar: [N + 1] int64
    records: np.ndarray,  # [N] INDEX_DTYPE - of all tars, one after the other
) -> list[Cut]:
    """The shards NAME-000000.tar and so on, to be written to `folder`."""
    starts = np.concatenate([bound[:-1] for bound in bounds])
    sizes = np.concatenate([np.diff(bound) for bound in bounds])
    owner = np.repeat(np.arange(len(tars)), [len(bound) - 1 for bound in bounds])
    firsts, cuts = first_samples(sizes, shard_size_bytes), []
    for number, (first, stop) in enumerate(pairwise(firsts)):
        moved = np.cumsum(sizes[first:stop]) - sizes[first:stop] - starts[first:stop]
        made = np.array(records[first:stop])
        made["offset"] = (made["offset"].astype(np.int64) + moved).astype(np.uint64)
        stretches = []
        for tar in range(owner[first], owner[stop - 1] + 1):
            low, high = np.searchsorted(owner, tar), np.searchsorted(owner, tar, side="right")
            low, high = max(low, first), min(high, stop)
            end = int(starts[high - 1] + sizes[high - 1])
            stretches.append(Stretch(tars[tar].path, int(starts[low]), end))
        cuts.append(Cut(home, folder / f"{name}-{number:06d}.tar", tuple(stretches), made))
    return cuts


@dataclass(frozen=True, slots=True)
class WrittenCut:
    """A shard that is written, under the name of its attempt."""

    info: ShardInfo
    token: str  # of the attempt, for `Home.accept`


def write_cut(cut: Cut) -> WrittenCut:
    """Write a shard, for `Home.accept` to give it its name; runs in a worker.

    Raises:
        DataError: a part's tar is shorter than it was.
    """
    digest, size, token = hashlib.sha256(), 0, secrets.token_hex(4)
    with cut.home.attempt(cut.path, token) as made, open(made, "wb") as file:
        for stretch in cut.stretches:
            left = stretch.stop - stretch.start
            for chunk in cut.home.pieces(stretch.path, stretch.start, stretch.stop):
                digest.update(chunk)
                file.write(chunk)
                left, size = left - len(chunk), size + len(chunk)
            if left:
                raise DataError(
                    f"a part stays as it was made until it is joined, got {stretch.path} cut off "
                    f"meanwhile; remove {stretch.path.parents[1]} and make that part again"
                )
        end = b"\0" * (-(-(size + _END_BYTES) // TAR_RECORD_BYTES) * TAR_RECORD_BYTES - size)
        digest.update(end)
        file.write(end)
        file.flush()
        os.fsync(file.fileno())
    info = ShardInfo(cut.path.name, len(cut.records), size + len(end), digest.hexdigest())
    return WrittenCut(info, token)
