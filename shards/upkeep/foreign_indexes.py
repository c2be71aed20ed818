"""Indexes for other readers of the same tars: DALI's `.idx` v1.2 and the wids JSON.

The tars stay as they are.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shards.atomic import write_whole
from shards.errors import DataError
from shards.index import ShardIndex
from shards.indexing.tar_folder import local_folder
from shards.tars.members import TarMember, iter_samples

_WIDS_NAME = "wids.json"


def export_dali(index: ShardIndex) -> list[Path]:
    """Write `NAME.idx` beside each `NAME.tar`, for DALI's `readers.webdataset(index_paths=...)`.

    It lists the samples of our index and no others, so that DALI's n-th sample of a shard is ours;
    an extension is written in lower case, which makes `A.JPG` a `jpg` for DALI too.

    Returns:
        The files, in the order of the shards.

    Raises:
        DataError: a member's name has white space, which the format cannot say; or the folder
            cannot be written.
    """
    return [_export_shard(index, number) for number in range(len(index.shards))]


def export_wids(index: ShardIndex) -> list[Path]:
    """Write `wids.json`, the shard list that wids and its samplers read.

    It counts all samples of a tar, as wids does, those that our index leaves out too.

    Raises:
        DataError: a tar is torn, or the folder cannot be written.
    """
    folder = local_folder(index.folder)
    shardlist = [
        {
            "url": shard.name,
            "nsamples": sum(_is_stored(sample) for sample in iter_samples(folder / shard.name)),
            "filesize": shard.size_bytes,
        }
        for shard in index.shards
    ]
    content = {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "name": folder.resolve().name,
        "shardlist": shardlist,
    }
    path = folder / _WIDS_NAME
    _write(path, json.dumps(content, indent=1) + "\n")
    return [path]


def _export_shard(index: ShardIndex, number: int) -> Path:
    path = local_folder(index.folder) / index.shards[number].name
    records = index.records
    ours = set(records["offset"][records["shard"] == np.uint32(number)].tolist())
    lines = [
        _dali_line(sample, path)
        for sample in iter_samples(path)
        if any(member.offset in ours for member in sample)
    ]
    target = path.with_suffix(".idx")
    _write(target, "\n".join([f"v1.2 {len(lines)}", *lines]) + "\n")
    return target


def _is_stored(sample: list[TarMember]) -> bool:
    """Whether others see a sample: they pass over links."""
    return not all(member.is_link for member in sample)


def _dali_line(sample: list[TarMember], path: Path) -> str:
    sample = [member for member in sample if not member.problem]
    for member in sample:
        if member.name.split() != [member.name]:
            raise DataError(
                f"DALI's index separates names with spaces, got a member {member.name!r} in "
                f"{path}; rename it there or read these shards without DALI's reader"
            )
    return " ".join(f"{m.extension} {m.offset} {m.size} {m.name}" for m in sample)


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text.encode(errors="surrogateescape"))
    except OSError as error:
        raise DataError(
            f"an export goes beside the tars, got {path} ({error.strerror}); make the folder "
            f"writable or link the tars into one that is"
        ) from None


EXPORTS: dict[str, Callable[[ShardIndex], list[Path]]] = {
    "dali": export_dali,
    "wids": export_wids,
}
