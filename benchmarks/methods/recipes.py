"""Every method by its demo recipe: kNN, linear probe, images a second, peak memory.

    python -m benchmarks.methods.recipes [--methods swav,byol] [--epochs N]

Each method trains on the demo set by its own recipe NAME_demo. Every run is a process of its own,
so its peak memory is its own. A row is written as soon as it is there; a later run with --methods
replaces those rows only. docs/methods.md shows the table (python docs/make.py methods).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.methods.one_run import NEED_A_RUN, python, read_rows, train_once
from shards.atomic import write_whole
from shards.errors import DataError, run_command
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from shards.terminal.output_file import check_output
from trainer.checks import choose
from trainer.methods.method_table import METHODS
from trainer.record.rundir import read_config

RESULTS = Path(__file__).parents[1] / "results" / "methods_demo.json"
LEAST_GAIN = 0.15  # kNN over a random encoder's that a method must reach
COLUMNS = {"epochs": "g", "views": "", "knn": ".1%", "random_knn": ".1%", "linear": ".1%"}
COLUMNS |= {"images_per_s": ",.0f", "seconds": ",.0f", "peak_mib": ",.0f"}


def main(argv: list[str] | None = None) -> int:
    """Train, evaluate, write, print; returns 1 when a run failed or learned too little."""
    parser = CommandParser("python -m benchmarks.methods.recipes", __doc__)
    add = parser.add_argument
    add("--methods", metavar="A,B", help="default: all")
    add("--epochs", type=float, metavar="N", help="default: the recipe's")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="default: %(default)s")
    add("--no-linear", dest="linear", action="store_false", help="leave the linear probe out")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    return run_command(lambda: _benchmark(parser.parse_args(argv)))


def _benchmark(options: argparse.Namespace) -> int:
    alone = ",".join(name for name in METHODS if name not in NEED_A_RUN)
    names = [choose("method", name, METHODS) for name in (options.methods or alone).split(",")]
    check_output("--out", options.out)
    rows: dict[str, dict[str, Any]] = read_rows(options.out, "methods") or {}
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            print(f"{name}: training", file=sys.stderr, flush=True)
            try:
                row = _measure(name, Path(folder) / name, options)
            except DataError as error:
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr, flush=True)
                continue
            # Rows that came meanwhile stay; in the table's order whatever was run last.
            rows = {**(read_rows(options.out, "methods") or {}), name: row}
            ordered = {key: rows[key] for key in METHODS if key in rows}
            report = {"suite": "demo", "methods": ordered}
            write_whole(options.out, json.dumps(report, indent=2) + "\n")
    table = Table("method", *COLUMNS)
    for name, row in rows.items():
        cells = ((row[column], form) for column, form in COLUMNS.items())
        table.add_row(
            name, *("" if value is None else format(value, form) for value, form in cells)
        )
    table_console().print(table)
    learned = {name: rows[name]["knn"] - rows[name]["random_knn"] for name in names if name in rows}
    if small := [name for name, gain in learned.items() if gain < LEAST_GAIN]:
        print(f"under {LEAST_GAIN:.0%} over a random encoder: {', '.join(small)}", file=sys.stderr)
    return 1 if failed or small else 0


def _measure(name: str, run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One method's row, with the conditions it was made under."""
    epochs = [] if options.epochs is None else ["--epochs", f"{options.epochs:g}"]
    where = ("--seed", str(options.seed), "--device", options.device)
    row = train_once(["--method", name, *epochs], run, *where)
    config = read_config(run)
    # A run is a process of its own, with as many threads as torch would take here.
    threads = {"torch_threads": torch.get_num_threads()}
    return row | {
        "seed": options.seed,
        "epochs": config.loop.epochs,
        "batch_size": config.loop.batch_size,
        "views": "+".join(str(group.count) for group in config.policy.load().groups),
        "arch": config.backbone.arch,
        "linear": _linear(run) if options.linear else None,
        "conditions": row["conditions"] | threads,
    }


def _linear(run: Path) -> float:
    """Accuracy of a linear probe on the run's frozen features."""
    scores = run / "scores.json"
    python("trainer.evaluate", str(run), "--json", str(scores))
    return json.loads(scores.read_text())["scores"][0]["linear"]


if __name__ == "__main__":
    sys.exit(main())
