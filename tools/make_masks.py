"""Makes a mask of each image, its foreground white: `python tools/make_masks.py SOURCE DIR`.

DIR mirrors SOURCE: the mask of dog/1.jpg is DIR/dog/1.png. make_shards.py --masks DIR packs it, for
policies that change backgrounds. A run that was stopped is continued by the same command.
"""

from trainer.watch.interrupt import quiet_interrupt

if __name__ == "__main__":
    quiet_interrupt()  # before what takes seconds to import

import argparse
import shlex
import sys
from pathlib import Path

from shards.errors import DataError, run_command
from shards.packing.destination import check_apart
from shards.plugins.find import origin
from shards.processes.parallel import usable_cores
from shards.samples.quarantine import tell_refused
from shards.sources.detect import open_source
from shards.terminal.commandline import CommandParser
from shards.terminal.counted import counted
from tools.saliency.masks_run import METHODS, make_masks
from tools.tell_packed import print_line


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _run(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python tools/make_masks.py",
        description=__doc__,
        epilog="""examples:
  python tools/make_masks.py photos masks
  python -m tools.make_shards photos sets/train --masks masks
  python -m tools.show_views --data sets/train --policy simclr "policy.background={prob: 0.5}"
  python tools/make_masks.py sets/train masks               of shards; then pack these tars anew:
  python -m tools.make_shards sets/train sets/masked --masks masks""",
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", help="a folder of images, or tars and zips of them")
    add("out", metavar="DIR", type=Path, help="a folder for the masks")
    add(
        "--method",
        default="spectral",
        metavar="NAME",
        help="spectral (default): the spectral residual of Hou and Zhang 2007, which learns "
        "nothing; or package.module:Class, called with an image [H, W, 3] uint8, that gives [H, W] "
        "bool, or uint8 with 255 where the foreground is",
    )
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add("--split", help="which part of SOURCE, as for make_shards.py")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    workers = usable_cores() if arguments.workers is None else max(1, arguments.workers)
    check_apart(arguments.source, arguments.out)
    if told := origin("saliency", arguments.method, METHODS):
        print_line(told)
    source = open_source(
        arguments.source,
        arguments.split,
        scratch=arguments.out.parent,
        progress=True,
    )
    for note in source.notes:
        print_line(f"note: {note}")
    try:
        report = make_masks(source, arguments.out, arguments.method, workers)
    except KeyboardInterrupt:
        print_line("stopped; the same command continues with the next image")
        raise
    there = f", {report.num_there:,} were there" if report.num_there else ""
    share = f"; foreground {report.foreground:.0%} of a mask's pixels" if report.num_made else ""
    print_line(f"{arguments.out}: {counted(report.num_made, 'mask')} made{there}{share}")
    if report.refused:
        print_line(tell_refused(report.refused, arguments.out))
    if not report.num_made and not report.num_there:
        first = report.refused[0]
        raise DataError(
            f"masks are of images that decode, got none of {len(source):,}, the first is "
            f"{first.name}: {first.reason}; mend them"
        )
    source, out = shlex.quote(arguments.source), shlex.quote(str(arguments.out))
    print_line(f"next: python -m tools.make_shards {source} OUT --masks {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
