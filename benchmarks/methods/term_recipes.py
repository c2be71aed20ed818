"""Terms beside their base: kNN on the demo set after the same training.

    python -m benchmarks.methods.term_recipes [--recipes csimclr_demo,mochi_demo]

Each recipe differs by the term alone from its base's, whose row is in methods_demo.json. A run is a
process of its own, and its row is written as soon as it is there; a later one replaces the row of
its recipe only. docs/methods.md shows the table (python docs/make.py methods).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.methods.one_run import read_rows, train_once
from shards.atomic import write_whole
from shards.errors import run_command
from shards.terminal.commandline import CommandParser
from trainer.checks import choose

RESULTS = Path(__file__).parents[1] / "results" / "terms_demo.json"
BASES = {  # by recipe
    "csimclr_demo": "simclr",
    "cbyol_demo": "byol",
    "mochi_demo": "mocov2",
    "dssl_demo": "simsiam",
    "msbreg_demo": "byol",
}


def main(argv: list[str] | None = None) -> int:
    """Train, write, print; returns the exit code."""
    parser = CommandParser("python -m benchmarks.methods.term_recipes", __doc__)
    add = parser.add_argument
    add("--recipes", metavar="A,B", default=",".join(BASES), help="default: all")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    return run_command(lambda: _benchmark(parser.parse_args(argv)))


def _benchmark(options: argparse.Namespace) -> int:
    for name in [choose("recipe", name, BASES) for name in options.recipes.split(",")]:
        print(f"{name}: training", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            row = train_once(["--config", name, "--seed", "0"], Path(folder) / name)
        # Read anew every time: two of these may run beside each other.
        rows = {**(read_rows(options.out, "recipes") or {}), name: row}
        report = {"suite": "demo", "recipes": {key: rows[key] for key in BASES if key in rows}}
        write_whole(options.out, json.dumps(report, indent=2) + "\n")
        print(f"{name}: {row['random_knn']:.1%} -> {row['knn']:.1%}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
