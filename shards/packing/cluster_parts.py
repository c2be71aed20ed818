"""Makes all parts of a set on a cluster, and joins them there: the bytes of one process.

    source -> parts 1/N to N/N, a job each, any machine -> join_parts -> tars, index, manifest

Every machine opens the source by its words, once a process, and writes its parts into OUT, a folder
that all see. Where one is lost another goes on with its part; where the command itself is killed
the next one takes what is whole, and goes on with the rest.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shards.packing.join_parts import join_parts
from shards.packing.pack import pack
from shards.packing.pack_bar import images_bar
from shards.packing.pack_report import PackReport
from shards.packing.part import Part, parts_in
from shards.processes.cluster import Cluster
from shards.sources.raw import Source
from shards.sources.source_words import SourceWords

_PARTS_A_CORE = 4  # so that none waits long for the last one
_LEAST_IMAGES = 500  # of a part, where opening the source should not take longer than packing


@dataclass(frozen=True, slots=True)
class PartJob:
    """One part to make, and how."""

    words: SourceWords
    out: Path
    held_out: Path | None
    options: Mapping[str, Any]  # further arguments of `pack`
    part: Part


def make_part(job: PartJob) -> int:
    """Make a part, or go on with it; how many images were packed or left out."""
    report = pack(
        _open(job.words),
        job.out,
        held_out=job.held_out,
        part=job.part,
        workers=1,
        **job.options,
    )
    both = [report, report.held_out] if report.held_out is not None else [report]
    return sum(one.manifest.num_samples + len(one.refused) for one in both)


def pack_on_cluster(
    cluster: Cluster,
    words: SourceWords,
    source: Source,  # opened by these words
    out: Path,
    held_out: Path | None,
    options: Mapping[str, Any],  # further arguments of `pack`
    *,
    progress: bool = False,
) -> PackReport:
    """Pack every image of a source, or say that this has been done; raises as `pack`."""
    of = _parts_of(out, len(source), cluster.cores)
    jobs = [PartJob(words, out, held_out, options, Part(i + 1, of)) for i in range(of)]
    with images_bar(progress) as bar:
        task = bar.add_task("packing", total=_num_images(len(source), options))
        for _, num_done in cluster.run(make_part, jobs):
            bar.advance(task, num_done)
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
