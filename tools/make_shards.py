"""Packs images into shards: `python tools/make_shards.py SOURCE OUT`.

The command around `shards.packing.pack.pack`; what SOURCE may be is told in `shards/sources/`.
"""

from trainer.watch.interrupt import quiet_interrupt

if __name__ == "__main__":
    quiet_interrupt()  # before what takes seconds to import

import argparse
import shlex
import sys
from pathlib import Path

from shards.errors import UsageError, run_command
from shards.packing.deep import parse_range
from shards.packing.destination import check_apart
from shards.packing.holdout import parse_hold_out
from shards.packing.pack import pack
from shards.packing.part import parse_part
from shards.packing.scratch import scratch_root
from shards.plugins.find import origin
from shards.remote.address import remote_folder
from shards.remote.bucket import check_bucket
from shards.samples.image_key import check_image_key
from shards.samples.labels import tell_alike
from shards.sources.own_source import SOURCES
from shards.sources.raw import Source
from shards.sources.source_words import SourceWords
from shards.sources.tars_in_place import find_tars_in_place
from shards.terminal.bytesize import parse_size
from shards.terminal.counted import counted
from tools.index_in_place import index_in_place, tell_classes
from tools.join_command import join, next_of_parts
from tools.pack_executor import check_packing_executor, pack_by_executor
from tools.pack_options import pack_parser
from tools.tell_packed import print_line, tell_absent, tell_packed

_ONLY_PACKING = (
    *("resize", "limit", "skip", "split", "value_range", "max_pixels"),
    *("hold_out", "held_out", "labels", "label_column", "files", "skip_list", "part", "executor"),
    "masks",
)
_FOR_PACK = ("name", "resize", "seed", "on_bad", "limit", "skip", "max_pixels")  # as they are
_OF_SOURCE = ("split", "files", "labels", "label_column", "skip_list", "masks")
_ONE_CLASS = (
    "there is one class, and no score can be made of that; give classes by folders or --labels FILE"
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _run(pack_parser().parse_intermixed_args(argv)))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.join is not None:
        return join(arguments)
    if arguments.source is None:
        pack_parser().error("the following arguments are required: SOURCE")
    part = None if arguments.part is None else parse_part(arguments.part)
    if arguments.executor is not None:
        check_packing_executor(arguments)
    shard_size_bytes = parse_size(arguments.shard_size)
    image_key = arguments.image_key and check_image_key(arguments.image_key)
    value_range = arguments.value_range and parse_range(arguments.value_range)
    own = arguments.own_source
    tars = None if own else find_tars_in_place(arguments.source, arguments.out)
    if tars is not None:
        _check_in_place(arguments)
        for line in index_in_place(tars, image_key, overwrite=arguments.overwrite):
            print_line(line)
        return 0
    if arguments.out is None:
        raise UsageError(
            "OUT is needed unless SOURCE is a folder of tars; name a new folder: python -m "
            f"tools.make_shards {shlex.quote(arguments.source)} OUT"
        )
    if arguments.label_column is not None and arguments.labels is None:
        raise UsageError(
            f"--label-column is one of the list of --labels, got {arguments.label_column} without "
            f"it; name the list"
        )
    hold_out = None if arguments.hold_out is None else parse_hold_out(arguments.hold_out)
    held_out = _held_out(arguments)
    for out in filter(None, (arguments.out, held_out)):
        if remote := remote_folder(out):
            check_bucket(remote)
        else:
            check_apart(arguments.source, Path(out))
    words = SourceWords(
        spec=arguments.source,
        image_key=image_key,
        scratch=scratch_root() if remote_folder(arguments.out) else Path(arguments.out).parent,
        own=own,
        **{name: getattr(arguments, name) for name in _OF_SOURCE},
    )
    source = words.open(progress=True)
    _tell_source(words, source)
    options = {name: getattr(arguments, name) for name in _FOR_PACK} | {
        "shard_size_bytes": shard_size_bytes,
        "value_range": value_range,
        "hold_out": hold_out,
        "spec": arguments.source,
    }
    try:
        if arguments.executor is not None:
            report = pack_by_executor(arguments, words, source, held_out, options)
        else:
            report = pack(
                source,
                arguments.out,
                held_out=held_out,
                workers=arguments.workers,
                overwrite=arguments.overwrite,
                progress=True,
                part=part,
                **options,
            )
    except KeyboardInterrupt:
        print_line("stopped; the same command continues with the next unfinished shard")
        raise
    tell_packed(report)
    if report.held_out is not None:
        tell_packed(report.held_out)
    if report.part is not None:
        command = next_of_parts(arguments.out, report.part, held_out)
    else:
        command = f"python -m trainer.run --data {shlex.quote(str(report.directory))}"
        if report.held_out is not None:
            tell_absent(report.held_out, source.labels)
            command += f" --eval-data {shlex.quote(str(report.held_out.directory))}"
    print_line(f"next: {command}")
    return 0


def _tell_source(words: SourceWords, source: Source) -> None:
    """Say what was found, before it is packed."""
    if words.own:
        print_line(origin("sources", words.own, SOURCES))
    images = counted(len(source), "image")
    print_line(f"{words.spec}: {source.kind}, {images}, {tell_classes(source.classes)}")
    for note in source.notes:
        print_line(f"note: {note}")
    if len(source.classes) == 1:
        print_line(f"note: {_ONE_CLASS}")
    if alike := tell_alike(source.classes):
        print_line(f"note: {alike}")


def _held_out(arguments: argparse.Namespace) -> str | None:
    """The folder of the second set, where there is one."""
    if arguments.hold_out is None:
        if arguments.held_out is not None:
            raise UsageError(
                f"--held-out says where --hold-out puts images, got {arguments.held_out} without "
                f"it; say how many, such as --hold-out 10%"
            )
        return None
    return arguments.held_out or f"{arguments.out.rstrip('/')}-held-out"


def _check_in_place(arguments: argparse.Namespace) -> None:
    """Refuse what only packing can do."""
    for name in _ONLY_PACKING:
        if getattr(arguments, name) != pack_parser().get_default(name):
            raise UsageError(
                f"tars without OUT are indexed where they are, nothing is copied, got "
                f"--{name.replace('_', '-')}; name a new folder OUT to pack them, or leave it out"
            )


if __name__ == "__main__":
    sys.exit(main())
