"""`make_shards.py --executor`: what it goes with, and the pack on that cluster."""

import argparse
import glob
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shards.errors import UsageError
from shards.packing.cluster_parts import pack_on_cluster
from shards.packing.pack_report import PackReport
from shards.processes.cluster import check_executor, open_cluster
from shards.remote.address import RemoteFolder, located
from shards.sources.raw import Source
from shards.sources.source_words import SourceWords


def check_packing_executor(arguments: argparse.Namespace) -> None:
    """Refuse what does not go together; raises UsageError."""
    check_executor(arguments.executor)
    for flag, value in (("--part", arguments.part), ("--overwrite", arguments.overwrite or None)):
        if value is not None:
            raise UsageError(
                f"--executor makes all parts of a new set, got {flag} beside it; leave one out"
            )


def pack_by_executor(
    arguments: argparse.Namespace,
    words: SourceWords,
    source: Source,  # opened by these words
    held_out: str | None,
    options: Mapping[str, Any],  # further arguments of `pack`
) -> PackReport:
    """All parts and the set that they make; paths are told to other machines in full."""
    seen = replace(
        words,
        spec=_seen(words.spec),
        files=words.files and words.files.resolve(),
        labels=words.labels and words.labels.resolve(),
        skip_list=words.skip_list and words.skip_list.resolve(),
        masks=words.masks and words.masks.resolve(),
        scratch=words.scratch and words.scratch.resolve(),
    )
    out, other = seen_by_all(arguments.out), None if held_out is None else seen_by_all(held_out)
    with open_cluster(arguments.executor, arguments.workers) as cluster:
        report = pack_on_cluster(cluster, seen, source, out, other, options, progress=True)
    if held_out is not None and report.held_out is not None:
        report = replace(report, held_out=_as_typed(report.held_out, held_out))
    return _as_typed(report, arguments.out)


def seen_by_all(out: str) -> Path | RemoteFolder:
    """A path in full, or an address."""
    place = located(out)
    return place.resolve() if isinstance(place, Path) else place


def _as_typed(report: PackReport, out: str) -> PackReport:
    return replace(report, directory=located(out))


def _seen(spec: str) -> str:
    """A path, or a glob of some, in full; any other word as it is."""
    path = Path(spec)
    is_path = path.exists() or bool(glob.glob(spec))
    return str(path.absolute()) if is_path else spec
