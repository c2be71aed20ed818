"""Shows what the encoder will see: a picture with a row an image, its crop windows and its views.

The images and views are those of a run with the same seed: the epoch's first samples, or --ids; or,
with --plan, those of a plan that was saved, such as a run's nonfinite-step-N.npz.
"""

from trainer.command.begin import begin

if __name__ == "__main__":
    begin()  # before what takes seconds to import

import argparse
import sys

from shards.errors import run_command
from shards.terminal.commandline import CommandParser
from tools.policy_options import add_policy_options


def main(argv: list[str] | None = None) -> int:
    """Write the picture; returns the exit code."""
    return run_command(lambda: _show(_parser().parse_intermixed_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python tools/show_views.py",
        description=__doc__,
        epilog="""examples:
  python tools/show_views.py --data sets/train --policy swav --views 2+6 --out views.png
  python tools/show_views.py --config runs/mine --out views.png      what a run saw""",
    )
    add_policy_options(parser)
    parser.add_argument(
        "--plan",
        metavar="FILE",
        help="the views of a saved plan (.npz) of the images in --data; no policy or seed counts",
    )
    parser.add_argument("--epoch", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--num-images", type=int, default=8, metavar="N", help="rows (default: %(default)s)"
    )
    parser.add_argument("--ids", metavar="3,17", help="these samples instead of the epoch's first")
    parser.add_argument(
        "--backend",
        default="auto",
        metavar="NAME",
        help="who makes the views: fused, dali, kornia, reference or auto (default)",
    )
    parser.add_argument("--out", default="views.png", metavar="FILE", help="default: %(default)s")
    return parser


def _show(options: argparse.Namespace) -> int:
    # Here, since it loads torch: --help and a wrong flag need none.
    from tools.views_picture import picture_views

    return picture_views(options)


if __name__ == "__main__":
    sys.exit(main())
