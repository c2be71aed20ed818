"""Makes all parts of a set on a cluster, and joins them there: the bytes of one process.

    source -> parts 1/N to N/N, a job each, any machine -> join_parts -> tars, index, manifest

Every machine opens the source by its words, once a process, and writes its parts into OUT, a folder
that all see or a bucket. Where one is lost another goes on with its part, under a name of its own
(`attempts.py`); where the command itself is killed the next one takes what is whole, and goes on
with the rest.
"""

import functools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shards.packing.attempts import accept_attempt
from shards.packing.bucket_home import open_home
from shards.packing.join_parts import join_parts
from shards.packing.pack import pack
from shards.packing.pack_bar import images_bar
from shards.packing.pack_report import PackReport
from shards.packing.part import Part, parts_in
from shards.processes.cluster import Cluster
from shards.remote.address import Location, located
from shards.sources.raw import Source
from shards.sources.source_words import SourceWords

_PARTS_A_CORE = 4  # so that none waits long for the last one
_LEAST_IMAGES = 500  # of a part, where opening the source should not take longer than packing


@dataclass(frozen=True, slots=True)
class PartJob:
    """One part to make, and how."""

    words: SourceWords
    out: Location
    held_out: Location | None
    options: Mapping[str, Any]  # further arguments of `pack`
    part: Part


@dataclass(frozen=True, slots=True)
class MadePart:
    """A part that is whole, under the name of its attempt."""

    num_images: int  # packed or left out
    attempt: str


def make_part(job: PartJob) -> MadePart:
    """Make a part, or go on with it, for the caller to accept."""
    attempt = secrets.token_hex(4)
    report = pack(
        _open(job.words),
        job.out,
        held_out=job.held_out,
        part=job.part,
        attempt=attempt,
        workers=1,
        **job.options,
    )
    both = [report, report.held_out] if report.held_out is not None else [report]
    num_images = sum(one.manifest.num_samples + len(one.refused) for one in both)
    return MadePart(num_images, attempt)


def pack_on_cluster(
    cluster: Cluster,
    words: SourceWords,
    source: Source,  # opened by these words
    out: Location,
    held_out: Location | None,
    options: Mapping[str, Any],  # further arguments of `pack`
    *,
    progress: bool = False,
) -> PackReport:
    """Pack every image of a source, or say that this has been done; raises as `pack`."""
    with open_home(out, brief=True) as home:
        of = _parts_of(home.folder, len(source), cluster.cores)
    jobs = [PartJob(words, out, held_out, options, Part(i + 1, of)) for i in range(of)]
    folders = [located(one) for one in (out, held_out) if one is not None]
    with images_bar(progress) as bar:
        task = bar.add_task("packing", total=_num_images(len(source), options))
        for position, made in cluster.run(make_part, jobs):
            for folder in folders:
                if isinstance(folder, Path):  # in a bucket equal bytes have come under one name
                    accept_attempt(folder, jobs[position].part, made.attempt)
            bar.advance(task, made.num_images)
    report = join_parts(out, progress=progress, cluster=cluster)
    if held_out is None:
        return report
    return replace(report, held_out=join_parts(held_out, progress=progress, cluster=cluster))


def _parts_of(out: Path, num_images: int, cores: int) -> int:
    """As many as were begun, else some for each core."""
    if begun := parts_in(out):
        return begun[0].of
    return max(1, min(cores * _PARTS_A_CORE, num_images // _LEAST_IMAGES))


def _num_images(total: int, options: Mapping[str, Any]) -> int:
    left = total - options.get("skip", 0)
    limit = options.get("limit")
    return left if limit is None else min(left, limit)


@functools.lru_cache(maxsize=1)
def _open(words: SourceWords) -> Source:
    return words.open()
