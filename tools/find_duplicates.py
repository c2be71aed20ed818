"""Finds images of a set that show nearly the same: `python tools/find_duplicates.py FEATURES`.

FEATURES are those of `python -m trainer.embed`. Every image is compared with every other one by the
cosine of their features, less the set's mean; what is alike makes a group, of which the first image
is kept. A table of the groups, a picture to judge them by, and a list for --skip-list.
"""

from trainer.command.begin import begin

if __name__ == "__main__":
    begin()  # before what takes seconds to import

import argparse
import sys
from pathlib import Path

from shards.errors import run_command
from shards.terminal.commandline import CommandParser

THRESHOLD = 0.98
TABLE = "duplicates.csv"


def main(argv: list[str] | None = None) -> int:
    """Write table, picture and list; returns the exit code."""
    return run_command(lambda: _find(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="find_duplicates.py",
        description=__doc__,
        epilog="""examples:
  python -m trainer.embed runs/mine --data sets/train --out features.npy
  python tools/find_duplicates.py features.npy --picture duplicates.jpg
  python tools/find_duplicates.py features.npy --threshold 0.99 --skip-list skip.txt
  python -m trainer.run --data sets/train data.skip_list=skip.txt
  python -m tools.make_shards photos sets/clean --skip-list skip.txt

What is a duplicate depends on the encoder: look at the picture, whose last rows are the least alike
of what the threshold takes, and at the counts for other thresholds. A million images take hours on
a CPU and minutes on a GPU.""",
    )
    parser.add_argument("features", type=Path, metavar="FEATURES", help="a .parquet or .npy")
    parser.add_argument(
        "--threshold", type=float, default=THRESHOLD, metavar="T",
        help=f"cosine from which on two images are duplicates ({THRESHOLD})",
    )  # fmt: skip
    parser.add_argument(
        "--table", type=Path, default=Path(TABLE), metavar="CSV", help=f"of the groups ({TABLE})"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="of the groups: .jpg, .png")
    parser.add_argument(
        "--skip-list", type=Path, metavar="FILE", help="all but the first of each group, a text"
    )
    parser.add_argument(
        "--data", metavar="DIR", help="the shards, for the picture (default: as FEATURES say)"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="cpu, cuda or auto")
    return parser


def _find(args: argparse.Namespace) -> int:
    # Here, since it loads torch: --help and a wrong flag need none.
    from tools.duplicates.duplicates_run import find_duplicates

    return find_duplicates(args)


if __name__ == "__main__":
    sys.exit(main())
