"""The last words of a pack: what is there, what was left out or converted."""

import re

import numpy as np

from shards.format import NO_LABEL
from shards.index import ShardIndex
from shards.packing.conversions import CONVERTED_NAME, tell_conversions
from shards.packing.pack_report import PackReport
from shards.samples.image_key import tell_further
from shards.samples.quarantine import tell_refused
from shards.terminal.counted import agreed, counted
from tools.index_in_place import tell_classes

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def tell_packed(report: PackReport) -> None:
    """Print what a set or a part holds now, and what did not go into it as it was."""
    manifest, of = report.manifest, f"part {report.part} in " if report.part else ""
    if report.was_complete:
        print_line(f"{of}{report.directory} is complete already, nothing was packed")
    if report.num_resumed:
        print_line(
            f"continued an interrupted run: {counted(report.num_resumed, 'image')} "
            f"{agreed(report.num_resumed, 'was', 'were')} packed already"
        )
    size_mib = sum(shard.size_bytes for shard in manifest.shards) / 2**20
    print_line(
        f"{of}{report.directory}: {counted(manifest.num_samples, 'image')}, "
        f"{tell_classes(manifest.classes)}, {counted(len(manifest.shards), 'shard')}, "
        f"{size_mib:,.1f} MiB"
    )
    if report.refused:
        print_line(tell_refused(report.refused, report.directory))
    for remedy in tell_further(report.refused):
        print_line(f"note: {remedy}")
    for sentence in tell_conversions(report.converted):
        print_line(f"note: {sentence}")
    if report.converted:
        print_line(f"all converted images are listed in {report.directory}/{CONVERTED_NAME}")


def tell_absent(held_out: PackReport, labels: np.ndarray) -> None:
    """Print which of the classes of both sets have no image in the held-out one."""
    index, classes = ShardIndex.open(held_out.directory), held_out.manifest.classes
    absent = np.setdiff1d(labels, index.records["label"])
    if len(absent := absent[absent != NO_LABEL]):
        first = classes[absent[0]] if absent[0] < len(classes) else absent[0]
        print_line(
            f"note: without an image in {held_out.directory}: {tell_classes(absent)} ({first} "
            f"first), too small for this share"
        )


def print_line(line: str) -> None:
    """Print a line, at once also into a pipe; control characters of names by their codes."""
    print(_CONTROL.sub(lambda found: repr(found[0])[1:-1], line), flush=True)
