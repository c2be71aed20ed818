"""Packs images into shards: `python tools/make_shards.py SOURCE OUT`.

The command around `shards.packing.pack.pack`; what SOURCE may be is told in `shards/sources/`.
"""

from trainer.interrupt import quiet_interrupt

if __name__ == "__main__":
    quiet_interrupt()  # before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shards.bytesize import parse_size
from shards.commandline import CommandParser
from shards.errors import UsageError, run_command
from shards.format import QUARANTINE_NAME
from shards.index import ShardIndex
from shards.packing.pack import DEFAULT_SHARD_BYTES, ON_BAD, PackReport, pack
from shards.sources.detect import open_source
from shards.sources.tars import find_tar_folder

_DESCRIPTION = """\
Pack images into WebDataset shards with an index beside them.

SOURCE is one of
  FOLDER            images; the first folder level is the class, a flat folder has no labels
  FOLDER or FILE    MNIST-style idx files (*-images-idx3-ubyte[.gz] and the labels beside them)
  FOLDER or TAR.GZ  a CIFAR-10 or CIFAR-100 python archive
  FOLDER or FILE    Parquet files in the Hugging Face image layout (needs pyarrow)
  FOLDER or GLOB    WebDataset tars: they stay where they are and get an index, OUT is not needed
  demo, demo:test   a rendered set: 12 classes, 64 px, 6,000 and 1,200 images, nothing to download

JPEG files are stored as they are, anything else as upright 8-bit RGB PNG. Every image is decoded in
full first; bad ones are left out and listed in OUT/quarantine.jsonl. The same source, options and
seed give the same bytes. An interrupted run is continued by the same command.
"""
_EXAMPLES = """\
examples:
  python tools/make_shards.py demo data/demo
  python tools/make_shards.py photos shards/val --resize 256 --limit 1000     held out
  python tools/make_shards.py photos shards/train --resize 256 --skip 1000    all the others
  python tools/make_shards.py /usr/share/datasets/fashion-mnist data/fashion-test --split test
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _run(_parser().parse_args(argv)))


def _run(arguments: argparse.Namespace) -> int:
    shard_size_bytes = parse_size(arguments.shard_size)
    tars = find_tar_folder(arguments.source)
    if tars is not None:
        return _index_in_place(tars, arguments.out)
    if arguments.out is None:
        raise UsageError("OUT is needed unless SOURCE is a folder of tars; name a new folder")
    source = open_source(arguments.source, arguments.split)
    images = _count(len(source), "image")
    _say(f"{arguments.source}: {source.kind}, {images}, {_classes(source.classes)}")
    for note in source.notes:
        _say(f"note: {note}")
    try:
        report = pack(
            source,
            arguments.out,
            name=arguments.name,
            shard_size_bytes=shard_size_bytes,
            resize=arguments.resize,
            workers=arguments.workers,
            seed=arguments.seed,
            on_bad=arguments.on_bad,
            limit=arguments.limit,
            skip=arguments.skip,
            overwrite=arguments.overwrite,
            progress=True,
            spec=arguments.source,
        )
    except KeyboardInterrupt:
        _say("stopped; the same command continues with the next unfinished shard")
        raise
    _tell(report)
    return 0


def _tell(report: PackReport) -> None:
    """The last words: what is there, what was left out, what to type next."""
    manifest = report.manifest
    if report.was_complete:
        _say(f"{report.directory} is complete already, nothing was written")
    if report.num_resumed:
        _say(f"continued an interrupted run: {report.num_resumed:,} images were packed already")
    size_mib = sum(shard.size_bytes for shard in manifest.shards) / 2**20
    _say(
        f"{report.directory}: {_count(manifest.num_samples, 'image')}, "
        f"{_classes(manifest.classes)}, {_count(len(manifest.shards), 'shard')}, "
        f"{size_mib:,.1f} MiB"
    )
    if report.refused:
        first = report.refused[0]
        _say(
            f"left out {_count(len(report.refused), 'bad image')}, listed in "
            f"{report.directory / QUARANTINE_NAME}; the first is {first.name}: {first.reason}"
        )
    _say(f"next: python -m trainer.run --data {report.directory}")


def _index_in_place(folder: Path, out: str | None) -> int:
    if out is not None and folder.resolve() != Path(out).resolve():
        raise UsageError(
            f"tars are indexed where they are, nothing is copied, got OUT {out}; leave OUT out and "
            f"use {folder} as the data"
        )
    index = ShardIndex.open(folder, progress=True)
    _say(
        f"{folder}: {_count(len(index), 'image')}, {_classes(index.classes)}, "
        f"{_count(len(index.shards), 'shard')}, indexed in place, nothing was rewritten"
    )
    _say(f"next: python -m trainer.run --data {folder}")
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _classes(names: Sequence[str]) -> str:
    if not names:
        return "no labels"
    return f"{len(names):,} class" + ("" if len(names) == 1 else "es")


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="make_shards",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", help="what to pack, see above")
    add("out", metavar="OUT", nargs="?", help="a new or empty folder for the shards")
    add("--name", default="train", help="shards are called NAME-000000.tar ... (%(default)s)")
    add(
        "--shard-size",
        default=f"{DEFAULT_SHARD_BYTES >> 20}MiB",
        metavar="SIZE",
        help="upper bound of a shard (%(default)s)",
    )
    add(
        "--resize",
        type=int,
        metavar="SHORT",
        help="shrink images to this short side in pixels, never enlarge; JPEGs that shrink are "
        "encoded anew with quality 95 (default: keep the size)",
    )
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add("--seed", type=int, default=0, help="of the order of the samples (%(default)s)")
    add(
        "--on-bad",
        choices=ON_BAD,
        default=ON_BAD[0],
        help="leave bad images out and list them, or stop at the first (%(default)s)",
    )
    add(
        "--split",
        help="which part of SOURCE, for kinds that come in parts: train or test, or a folder's "
        "name (default: train)",
    )
    add("--limit", type=int, metavar="N", help="pack only N images, drawn at random by the seed")
    add(
        "--skip",
        type=int,
        default=0,
        metavar="N",
        help="leave out the N images that --limit N packs: --limit makes a held-out set, --skip "
        "the rest",
    )
    add("--overwrite", action="store_true", help="replace another set in OUT once this is whole")
    return parser


if __name__ == "__main__":
    sys.exit(main())
