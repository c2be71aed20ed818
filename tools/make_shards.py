"""Packs images into shards: `python tools/make_shards.py SOURCE OUT`.

The command around `shards.packing.pack.pack`; what SOURCE may be is told in `shards/sources/`.
"""

from trainer.interrupt import quiet_interrupt

if __name__ == "__main__":
    quiet_interrupt()  # before what takes seconds to import

import argparse
import sys
from pathlib import Path

from shards.bytesize import parse_size
from shards.commandline import CommandParser
from shards.errors import UsageError, run_command
from shards.format import MAX_IMAGE_PIXELS
from shards.packing.conversions import CONVERTED_NAME, tell_conversions
from shards.packing.deep import parse_range
from shards.packing.destination import check_apart
from shards.packing.pack import DEFAULT_SHARD_BYTES, ON_BAD, PackReport, pack
from shards.quarantine import tell_refused
from shards.samples import check_image_key, tell_further
from shards.sources.detect import open_source
from shards.sources.tars import find_tars_in_place
from tools.index_in_place import count, index_in_place, tell_classes

_DESCRIPTION = """\
Pack images into WebDataset shards with an index beside them.

SOURCE is one of
  FOLDER            images; the first folder level is the class, a flat folder has no labels
  FOLDER or FILE    MNIST-style idx files (*-images-idx3-ubyte[.gz] and the labels beside them)
  FOLDER or TAR.GZ  a CIFAR-10 or CIFAR-100 python archive
  FOLDER or FILE    Parquet files in the Hugging Face image layout (needs pyarrow)
  FOLDER or GLOB    WebDataset tars: without OUT they stay where they are and get an index
  FOLDER or FILE    tars (plain, .gz, .bz2, .xz) and zips at any depth: with OUT they are packed
  demo, demo:test   a rendered set: 12 classes, 64 px, 6,000 and 1,200 images, nothing to download

JPEG files are stored as they are, anything else as upright 8-bit RGB PNG. Every image is decoded in
full first; bad ones are left out and listed in OUT/quarantine.jsonl, those that lose something
(transparency, pages, values of over 8 bits) in OUT/converted.jsonl. The same source, options and
seed give the same bytes. An interrupted run is continued by the same command.
"""
_EXAMPLES = """\
examples:
  python tools/make_shards.py demo data/demo
  python tools/make_shards.py photos sets/val --resize 256 --limit 1000     held out
  python tools/make_shards.py photos sets/train --resize 256 --skip 1000    all the others
  python tools/make_shards.py /usr/share/datasets/fashion-mnist data/fashion-test --split test
  python tools/make_shards.py photos.zip sets/photos --resize 256
  python tools/make_shards.py tars --image-key input.jpg       of s1.input.jpg, s1.target.jpg
  python tools/make_shards.py xrays sets/xrays --value-range 0:4095     12 bits in 16
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _run(_parser().parse_args(argv)))


def _run(arguments: argparse.Namespace) -> int:
    shard_size_bytes = parse_size(arguments.shard_size)
    image_key = arguments.image_key and check_image_key(arguments.image_key)
    value_range = arguments.value_range and parse_range(arguments.value_range)
    tars = find_tars_in_place(arguments.source, arguments.out)
    if tars is not None:
        _check_in_place(arguments)
        for line in index_in_place(tars, image_key, overwrite=arguments.overwrite):
            _say(line)
        return 0
    if arguments.out is None:
        raise UsageError(
            f"OUT is needed unless SOURCE is a folder of tars; name a new folder: python "
            f"tools/make_shards.py {arguments.source} OUT"
        )
    check_apart(arguments.source, Path(arguments.out))
    source = open_source(
        arguments.source,
        arguments.split,
        image_key=image_key,
        scratch=Path(arguments.out).parent,
        progress=True,
    )
    images = count(len(source), "image")
    _say(f"{arguments.source}: {source.kind}, {images}, {tell_classes(source.classes)}")
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
            value_range=value_range,
            max_pixels=arguments.max_pixels,
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
    """The last words: what is there, what was left out or converted, what to type next."""
    manifest = report.manifest
    if report.was_complete:
        _say(f"{report.directory} is complete already, nothing was written")
    if report.num_resumed:
        _say(f"continued an interrupted run: {report.num_resumed:,} images were packed already")
    size_mib = sum(shard.size_bytes for shard in manifest.shards) / 2**20
    _say(
        f"{report.directory}: {count(manifest.num_samples, 'image')}, "
        f"{tell_classes(manifest.classes)}, {count(len(manifest.shards), 'shard')}, "
        f"{size_mib:,.1f} MiB"
    )
    if report.refused:
        _say(tell_refused(report.refused, report.directory))
    for remedy in tell_further(report.refused):
        _say(f"note: {remedy}")
    for sentence in tell_conversions(report.converted):
        _say(f"note: {sentence}")
    if report.converted:
        _say(f"all converted images are listed in {report.directory / CONVERTED_NAME}")
    _say(f"next: python -m trainer.run --data {report.directory}")


def _check_in_place(arguments: argparse.Namespace) -> None:
    """Refuse what only packing can do."""
    for name in ("resize", "limit", "skip", "split", "value_range", "max_pixels"):
        if getattr(arguments, name) != _parser().get_default(name):
            raise UsageError(
                f"tars without OUT are indexed where they are, nothing is copied, got "
                f"--{name.replace('_', '-')}; name a new folder OUT to pack them, or leave it out"
            )


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
    add(
        "--image-key",
        metavar="KEY",
        help="of tars and zips: which image of a sample counts, a sample being what shares a name "
        "up to the first dot. An extension such as jpg or input.jpg (or several, with commas); "
        "each: every image is a sample of its own, also photo.1.jpg beside photo.2.jpg; auto: the "
        "only image, else the one without another dot; the others are listed as left out "
        "(default: auto, in zips each)",
    )
    add(
        "--value-range",
        metavar="LOW:HIGH",
        help="values of black and white in images of over 8 bits a value, such as 0:4095 for 12 "
        "bits, or --value-range=-1024:3071 (default: the range of the file's format, 0:65535 for "
        "16 bits; 32-bit, signed and floating ones have none)",
    )
    add(
        "--max-pixels",
        type=int,
        default=MAX_IMAGE_PIXELS,
        metavar="N",
        help="with --resize: the largest image that is decoded at its full size, at three bytes a "
        "pixel and process or more; a JPEG that is not progressive is decoded at a half or less, "
        "and may have 2,000,000,000 (%(default)s)",
    )
    add(
        "--overwrite",
        action="store_true",
        help="replace another set in OUT once this is whole; of tars that are indexed where they "
        "are: also where packed ones have changed",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
