"""`python -m trainer.report RUN [RUN2]`: what a run was and what became of it, as one HTML file.

The file needs no network and no other file. With two runs their curves share axes, and the keys in
which they differ are told. What a panel needs and is not there is said in the page.
"""

from trainer.command.begin import begin

if __name__ == "__main__":
    begin()  # before what takes seconds to import

import argparse
import sys
from pathlib import Path

from shards.errors import run_command
from shards.terminal.commandline import CommandParser

EXAMPLES = """\
examples:
  python -m trainer.report runs/mine                       writes runs/mine/report.html
  python -m trainer.report runs/a runs/b --out compare.html
  python -m trainer.report runs/mine --eval-data sets/val --checkpoint best

Curves, times and warnings come from what the run wrote down. Neighbours, the map and the classes
are made anew: the encoder of a checkpoint goes over the held-out and the voting images, as many as
the run's kNN took (--max-images takes fewer), so their score is the recorded one. The map shows
principal components, and UMAP too where umap-learn is installed."""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(lambda: _main(_parser().parse_args(argv)))


def _main(args: argparse.Namespace) -> int:
    # Here, since it loads torch: --help and a wrong flag need none.
    from trainer.report.report_runs import report_runs

    return report_runs(args)


def _parser() -> CommandParser:
    description = "Write what a run was, and what became of it, as one HTML file."
    parser = CommandParser("python -m trainer.report", description, EXAMPLES)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "other", type=Path, nargs="?", metavar="RUN2", help="another one, shown beside it"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="an .html file (default: RUN/report.html)"
    )
    parser.add_argument(
        "--data", metavar="DIR", action="append", help="training shards (default: the run's)"
    )
    parser.add_argument("--eval-data", metavar="DIR", help="held-out shards (default: the run's)")
    parser.add_argument(
        "--checkpoint", default="last", metavar="WHICH", help="last (default), best or a step"
    )
    parser.add_argument(
        "--max-images", type=int, metavar="N", help="of each set, at most (the run's, 10,000)"
    )
    parser.add_argument(
        "--records-only", action="store_true", help="load no encoder: what was written down alone"
    )
    parser.add_argument("--backend", metavar="NAME", help="fused, dali, kornia or auto")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or auto")
    return parser


if __name__ == "__main__":
    sys.exit(main())
