"""Is a folder of shards what its index says? Every byte hashed, every image decoded.

`shard_check.py` does the work for one tar.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shards.format import INDEX_DTYPE, INDEX_NAME, Manifest
from shards.index import ShardIndex
from shards.indexing.changes import doubts_about
from shards.indexing.scan_folder import told_notes
from shards.indexing.tar_folder import TarState, local_folder, tar_states
from shards.processes.cluster import Cluster
from shards.processes.parallel import run_jobs, with_bar
from shards.remote.address import Location, RemoteFolder, remote_folder
from shards.store import cache_folder, map_records, read_manifest
from shards.upkeep.shard_check import ShardJob, ShardReport, check_shard


@dataclass(frozen=True, slots=True)
class FolderReport:
    """The extent of a check, and every fault it met."""

    num_shards: int
    num_samples: int
    size_bytes: int  # of the tars
    num_hashed: int  # shards with a sha256 to compare with
    problems: tuple[str, ...]  # a line each, in the order of the shards
    notes: tuple[str, ...] = ()  # what is not wrong, and should be known


def check_folder(
    directory: Location,
    *,
    decode: bool = True,
    workers: int | None = None,
    progress: bool = False,
    cluster: Cluster | None = None,
) -> FolderReport:
    """Compare a folder of tars with its index; where a local one has none, it is built first.

    Args:
        directory: holds the tars; remote ones pass through the local cache (`remotecache/`).
        decode: decode every image in full, not only compare checksums.
        workers: processes; None takes one a core.
        progress: show a bar on a terminal.
        cluster: checks in place of this machine's processes; a folder is one that it sees.

    Raises:
        UsageError: an address that cannot be read.
        DataError: nothing to compare: no folder, no tars, no index and none can be made.
    """
    remote = remote_folder(directory)
    if remote is None:
        folder = local_folder(directory)
        states = tar_states(folder)
        tars = {name: state.size_bytes for name, state in states.items()}
        place, manifest = _find_manifest(folder, states, progress)
        records, problems = _read_records(place, manifest)
    else:
        folder = remote
        index = ShardIndex.open(remote)
        records, manifest, problems = index.records, index.manifest, []
        # Not every server lists what it has.
        tars = {shard.name: shard.size_bytes for shard in manifest.shards}
    problems += _name_problems(manifest, tars)
    jobs = _jobs(folder, tars, manifest, records, decode)
    reports = _run(jobs, workers, progress, cluster)
    problems += [problem for report in reports for problem in report.problems]
    if manifest.sealed:
        problems += _repeated_keys(reports)
    return FolderReport(
        num_shards=len(tars),
        num_samples=manifest.num_samples,
        size_bytes=sum(tars.values()),
        num_hashed=sum(shard.sha256 is not None for shard in manifest.shards),
        problems=tuple(problems),
        notes=(*told_notes(manifest), *(note for report in reports for note in report.notes)),
    )


def _find_manifest(
    folder: Path, tars: dict[str, TarState], progress: bool
) -> tuple[Path, Manifest]:
    """The one that is used; beside read-only tars may be an older one than in the cache."""
    cache = cache_folder(folder)
    found = [(place, read_manifest(place)) for place in (folder, cache)]
    known = [(place, manifest) for place, manifest in found if manifest is not None]
    for place, manifest in known if len(known) > 1 else ():
        if not doubts_about([place, cache], manifest, tars):
            return place, manifest
    if known:
        return known[0]
    manifest = ShardIndex.open(folder, progress=progress).manifest
    beside = read_manifest(folder) is not None
    return (folder if beside else cache_folder(folder)), manifest


def _read_records(place: Path, manifest: Manifest) -> tuple[np.ndarray, list[str]]:
    records = map_records(place, manifest.num_samples)
    if records is None:
        problem = f"{INDEX_NAME}: missing or not {manifest.num_samples:,} whole records"
        return np.empty(0, INDEX_DTYPE), [problem]
    if hashlib.sha256(np.ascontiguousarray(records).data).hexdigest() != manifest.index_sha256:
        return records, [f"{INDEX_NAME}: its sha256 is not the manifest's"]
    return records, []


def _name_problems(manifest: Manifest, tars: dict[str, int]) -> list[str]:
    named = {shard.name for shard in manifest.shards}
    missing = [f"{name}: missing" for name in sorted(named - tars.keys())]
    return missing + [f"{name}: not in the manifest" for name in sorted(tars.keys() - named)]


def _jobs(
    folder: Path | RemoteFolder,
    tars: dict[str, int],
    manifest: Manifest,
    records: np.ndarray,
    decode: bool,
) -> list[ShardJob]:
    jobs = []
    for number, shard in enumerate(manifest.shards):
        first, end = np.searchsorted(records["shard"], [number, number + 1])
        if shard.name in tars and len(records):
            rows = np.array(records[first:end])
            about = (int(first), rows, manifest.classes, decode, manifest.is_packed)
            jobs.append(ShardJob(folder, shard, manifest.index_sha256, *about))
    return jobs


def _run(
    jobs: list[ShardJob], workers: int | None, progress: bool, cluster: Cluster | None
) -> list[ShardReport]:
    sizes = [job.info.size_bytes for job in jobs]
    results = run_jobs(check_shard, jobs, size_bytes=sum(sizes), workers=workers, cluster=cluster)
    reports = dict(with_bar(results, "checking", sizes, show=progress))
    return [reports[position] for position in range(len(jobs))]


def _repeated_keys(reports: list[ShardReport]) -> list[str]:
    # Tars of others may start numbering anew in each; the packer never repeats a key.
    counts = Counter(key for report in reports for key in set(report.keys))
    return [f"{key}: key in {count} shards" for key, count in counts.items() if count > 1]
