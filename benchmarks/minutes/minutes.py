"""What a minute of a core buys: each idea of ideas.py for an equal cost, its kNN beside the base's.

    python -m benchmarks.minutes.minutes --train sets/cifar45k --held-out sets/cifar5k
    python -m benchmarks.minutes.minutes --train ... --held-out ... --ideas base,muon
    python -m benchmarks.minutes.minutes --print

Both sets are of the training images, so that a choice made here knows no test image:
`python tools/make_shards.py cifar10/train.parquet sets/cifar45k --hold-out 10% --held-out
sets/cifar5k` makes them.
A row is a process (minute_trial.py), written when it is there; a later call makes those that lack.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.methods.lacking_rows import make_lacking, rows_to_print
from benchmarks.methods.one_run import python
from benchmarks.minutes.ideas import IDEAS, WARMUPS
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from trainer.checks import choose, require

RESULTS = Path(__file__).parents[1] / "results" / "minutes.json"


def main(argv: list[str] | None = None) -> int:
    """Make the rows that lack, write, print; returns 1 when a trial failed."""
    return run_command(lambda: _benchmark(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.minutes.minutes", __doc__)
    add = parser.add_argument
    add("--train", metavar="SET", help="shards to train on")
    add("--held-out", metavar="SET", help="labelled shards to choose by")
    add("--ideas", default=",".join(IDEAS), metavar="A,B", help="default: all, in their order")
    add("--core-seconds", type=float, default=60.0, metavar="S", help="default: %(default)g")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    add("--print", action="store_true", help="the table as it is, and nothing else")
    return parser


def _benchmark(options: argparse.Namespace) -> int:
    if options.print:
        _print(rows_to_print(options.out))
        return 0
    names = [choose("idea", name, IDEAS) for name in options.ideas.split(",")]
    seconds = options.core_seconds
    require(seconds > 0, "--core-seconds is positive", seconds, "try 60")
    if options.train is None or options.held_out is None:
        raise UsageError("a trial needs two sets, got none; give --train SET --held-out SET")
    rows, failed = make_lacking(
        [{"idea": name, "core_seconds": seconds, "keys": [*IDEAS[name]]} for name in names],
        options.out,
        lambda what: _trial(what["idea"], options),
        name=lambda what: what["idea"],
        tell=lambda row: f"kNN {row['knn']:.1%}",
    )
    _print(rows)
    return 1 if failed else 0


def _trial(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What the process of an idea prints."""
    words = ["--train", options.train, "--held-out", options.held_out]
    words += ["--core-seconds", f"{options.core_seconds:g}", *IDEAS[name]]
    words += ["--warmup", f"{WARMUPS[name]:g}"] if name in WARMUPS else []
    return json.loads(python("benchmarks.minutes.minute_trial", *words).splitlines()[-1])


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("core-s", "idea", "cost", "images", "steps", "rank", "kNN", "over base")
    base = {row["core_seconds"]: row["knn"] for row in rows if row["idea"] == "base"}
    for row in sorted(rows, key=lambda row: (row["core_seconds"], -row["knn"])):
        budget = row["core_seconds"]
        gain = f"{100 * (row['knn'] - base[budget]):+.1f}" if budget in base else ""
        counts = (f"{row['cost']:.2f}", f"{row['images']:,}", f"{row['steps']:,}")
        scores = (f"{row['rank']:.0f}", f"{row['knn']:.1%}", gain)
        table.add_row(f"{budget:g}", row["idea"], *counts, *scores)
    table_console().print(table)


if __name__ == "__main__":
    sys.exit(main())
