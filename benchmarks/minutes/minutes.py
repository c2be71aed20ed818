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
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.methods.one_run import read_rows
from benchmarks.minutes.ideas import IDEAS, WARMUPS
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from trainer.checks import choose, require

RESULTS = Path(__file__).parents[1] / "results" / "minutes.json"


def main(argv: list[str] | None = None) -> int:
    """Make the rows that lack, write, print; returns 1 when a trial failed."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
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
    rows: list[dict[str, Any]] = read_rows(options.out, "rows") or []
    failed = []
    if not options.print:
        names = options.ideas.split(",")
        for name in names:
            choose("idea", name, IDEAS)
        seconds = options.core_seconds
        require(seconds > 0, "--core-seconds is positive", seconds, "try 60")
        if options.train is None or options.held_out is None:
            raise UsageError("a trial needs two sets, got none; give --train SET --held-out SET")
        for name in lacking(names, options.core_seconds, rows):
            row = _trial(name, options)
            if row is None:
                failed.append(name)
                continue
            rows.append(row)
            write_whole(options.out, json.dumps({"rows": rows}, indent=2) + "\n")
            print(f"{name}: kNN {row['knn']:.1%}", file=sys.stderr, flush=True)
    _print(rows)
    return 1 if failed else 0


def lacking(names: list[str], core_seconds: float, rows: list[dict[str, Any]]) -> list[str]:
    """Ideas without a row of this budget and of these keys."""
    done = {(row["idea"], row["core_seconds"], tuple(row["keys"])) for row in rows}
    return [name for name in names if (name, core_seconds, IDEAS[name]) not in done]


def _trial(name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """The row of an idea; None when its process failed, whose last words are then printed."""
    command = [sys.executable, "-m", "benchmarks.minutes.minute_trial"]
    command += ["--train", options.train, "--held-out", options.held_out]
    command += ["--core-seconds", f"{options.core_seconds:g}", *IDEAS[name]]
    command += ["--warmup", f"{WARMUPS[name]:g}"] if name in WARMUPS else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        print(f"{name}: {words}", file=sys.stderr, flush=True)
        return None
    return {"idea": name, **json.loads(done.stdout.splitlines()[-1])}


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
