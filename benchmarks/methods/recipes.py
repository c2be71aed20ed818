"""Every method for the same short budget: kNN, linear probe, images a second, peak memory.

    python -m benchmarks.methods.recipes                              the demo set, on the CPU
    python -m benchmarks.methods.recipes --suite fashion --data SHARDS --eval-data SHARDS

`demo` trains each method by its own recipe NAME_demo; `fashion` by NAME_cifar with 32 px views for
as many epochs as --epochs says (make_shards.py packs Fashion-MNIST). Every run is a process of its
own, so its peak memory is its own. A row is written as soon as it is there; a later run with
--methods replaces those rows only. docs/methods.md shows the table (python docs/make.py methods).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.terminal.console import table_console
from trainer.checks import choose
from trainer.methods.method_table import METHODS
from trainer.recipes.recipe import recipe_names
from trainer.record.conditions import conditions
from trainer.record.log import read_metrics
from trainer.record.rundir import read_config

RESULTS = Path(__file__).parents[1] / "results"
SUITES = ("demo", "fashion")
FASHION_SIZES = "32"
FASHION_EPOCHS = 20.0
DEMO_GAIN = 0.15  # kNN over a random encoder's that a method on the demo set must reach
NEED_A_RUN = ("distill",)  # it learns from a run that is finished and fine-tuned
COLUMNS = ("epochs", "views", "knn", "random_knn", "linear", "images_per_s", "seconds", "peak_mib")


def main(argv: list[str] | None = None) -> int:
    """Train, evaluate, write, print; returns 1 when a run failed or learned too little."""
    options = _parser().parse_args(argv)
    return run_command(lambda: _benchmark(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.methods.recipes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--suite", default="demo", choices=SUITES, help="default: %(default)s")
    add("--methods", metavar="A,B", help="default: all (fashion: that have a recipe for it)")
    add("--data", metavar="DIR", help="training shards (fashion)")
    add("--eval-data", metavar="DIR", help="labelled held-out shards (fashion)")
    add("--epochs", type=float, metavar="N", help="default: the recipe's (fashion: 20)")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="default: %(default)s")
    add("--no-linear", dest="linear", action="store_false", help="leave the linear probe out")
    add("--out", type=Path, metavar="FILE", help="default: benchmarks/results/methods_SUITE.json")
    return parser


def _benchmark(options: argparse.Namespace) -> int:
    alone = [name for name in METHODS if name not in NEED_A_RUN and _has_recipe(name, options)]
    names = options.methods.split(",") if options.methods else alone
    for name in names:
        choose("method", name, METHODS)
    if options.suite == "fashion" and not (options.data and options.eval_data):
        raise UsageError(
            "the fashion suite needs --data and --eval-data, got none; pack them first"
        )
    out = options.out or RESULTS / f"methods_{options.suite}.json"
    if not out.parent.is_dir():
        raise UsageError(f"--out lies in a folder that exists, got {out}; make it first")
    rows: dict[str, dict[str, Any]] = (
        json.loads(out.read_text())["methods"] if out.is_file() else {}
    )
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
            rows[name] = row
            # In the table's order whatever was run last, and written at once.
            ordered = {key: rows[key] for key in METHODS if key in rows}
            report = {"suite": options.suite, "methods": ordered}
            write_whole(out, json.dumps(report, indent=2) + "\n")
    _print(rows)
    small = [name for name in names if name in rows and _gain(rows[name]) < DEMO_GAIN]
    if options.suite == "demo" and small:
        print(f"under {DEMO_GAIN:.0%} over a random encoder: {', '.join(small)}", file=sys.stderr)
        failed += small
    return 1 if failed else 0


def _gain(row: dict[str, Any]) -> float:
    return row["knn"] - row["random_knn"]


def _measure(name: str, run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One method's row, with the conditions it was made under."""
    # A run is a process of its own, with as many threads as torch would take here.
    before = {**conditions(), "torch_threads": torch.get_num_threads()}
    arguments = [*_recipe(name, options), "--seed", str(options.seed), "--device", options.device]
    start = time.perf_counter()
    _python("trainer.run", *arguments, "--out", str(run))
    seconds = time.perf_counter() - start
    steps = [record for record in read_metrics(run) if "loss" in record]
    knn = [record["knn"] for record in read_metrics(run) if "knn" in record]
    config = read_config(run)
    return {
        "command": " ".join(["python -m trainer.run", *_recipe(name, options)]),
        "seed": options.seed,
        "epochs": config.loop.epochs,
        "batch_size": config.loop.batch_size,
        "views": "+".join(str(group.count) for group in config.policy.load().groups),
        "arch": config.backbone.arch,
        "knn": knn[-1],
        "random_knn": knn[0],
        "linear": _linear(run) if options.linear else None,
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "std": steps[-1]["std"],
        "rank": steps[-1]["rank"],
        "images_per_s": statistics.median(record["images_per_s"] for record in steps),
        "peak_mib": max(record["peak_memory_mib"] for record in steps),
        "seconds": seconds,
        "conditions": before,
    }


def _has_recipe(name: str, options: argparse.Namespace) -> bool:
    """Not all papers have a recipe for small images."""
    return options.suite == "demo" or f"{name}_cifar" in recipe_names()


def _recipe(name: str, options: argparse.Namespace) -> list[str]:
    """What is typed after `python -m trainer.run`, but for where it goes."""
    if options.suite == "demo":
        epochs = [] if options.epochs is None else ["--epochs", f"{options.epochs:g}"]
        return ["--method", name, *epochs]
    epochs = ["--epochs", f"{options.epochs or FASHION_EPOCHS:g}"]
    data = ["--data", options.data, "--eval-data", options.eval_data]
    return ["--config", f"{name}_cifar", *data, "--sizes", FASHION_SIZES, *epochs]


def _linear(run: Path) -> float:
    """Accuracy of a linear probe on the run's frozen features."""
    scores = run / "scores.json"
    _python("trainer.evaluate", str(run), "--json", str(scores))
    return json.loads(scores.read_text())["scores"][0]["linear"]


def _python(module: str, *arguments: str) -> None:
    """Run a module to its end; DataError with its last words when it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise DataError(f"{module} ended with code {done.returncode}: {words}")


def _print(rows: dict[str, dict[str, Any]]) -> None:
    table = Table("method", *COLUMNS)
    for name, row in rows.items():
        table.add_row(name, *(_cell(column, row[column]) for column in COLUMNS))
    table_console().print(table)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column in ("knn", "random_knn", "linear"):
        return f"{value:.1%}"
    return f"{value:,.0f}" if isinstance(value, float) and column != "epochs" else f"{value}"


if __name__ == "__main__":
    sys.exit(main())
