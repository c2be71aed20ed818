"""Every method by the fitted recipe, in about the same time: kNN beside the untrained encoder's.

    python -m benchmarks.methods.fitted --set tiny7k=sets/tiny7k,sets/tiny-val --set cifar10k=...
    python -m benchmarks.methods.fitted --set tiny7k=... --methods swav,byol --seeds 0,1,2
    python -m benchmarks.methods.fitted --print

A row is one run of `python -m trainer.run --data TRAIN --eval-data EVAL --method M --views V
--epochs N`: nothing else is typed. N is what about 8 minutes hold on two quiet cores (EPOCHS), and
not --minutes, so that a busy machine makes a run longer and not worse. Every row is written when it
is there, and a later call makes those that lack: hours of runs may be stopped and started.
A method whose rule has another optimizer than its row gets a new one beside it. docs/methods.md
shows the table (python docs/make.py methods). docs/recipes.md says how anyone gets the sets.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.methods.lacking_rows import gain, make_lacking, read_seeds, read_set, rows_to_print
from benchmarks.methods.one_run import NEED_A_RUN, train_once
from shards.errors import DataError, UsageError, run_command
from shards.terminal.commandline import CommandParser, count
from shards.terminal.console import table_console
from trainer.checks import choose
from trainer.fitted.method_rules import OTHER, RULES
from trainer.methods.method_table import METHODS
from trainer.recipes.recipe import as_mapping
from trainer.record.rundir import read_config

RESULTS = Path(__file__).parents[1] / "results" / "fitted.json"
# About 8 minutes of two cores by set and views: 7,000 images of 64 px, 10,000 of 32 px. Reckoned
# from processor time on a busy Intel Xeon (130 img/s a core with 2+6 views of 64+32 px), which is
# slower than a quiet one.
EPOCHS = {"tiny7k": {"2": 32.0, "2+6": 18.0}, "cifar10k": {"2": 26.0, "2+6": 14.0}}


def main(argv: list[str] | None = None) -> int:
    """Train what lacks, write, print; returns 1 when a run failed."""
    return run_command(lambda: _benchmark(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.methods.fitted", __doc__)
    add = parser.add_argument
    add("--set", dest="sets", action="append", default=[], metavar="NAME=TRAIN,EVAL")
    add("--methods", metavar="A,B", help="default: all")
    add("--views", default="2+6", metavar="V,V", help="default: %(default)s")
    add("--seeds", default="0", metavar="N,N", help="default: %(default)s")
    add("--epochs", type=float, metavar="N", help="default: EPOCHS of the set and the views")
    add("--jobs", type=count, default=1, metavar="N", help="runs at once, each on its own core")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    add("--print", action="store_true", help="the table as it is, and nothing else")
    return parser


def _benchmark(options: argparse.Namespace) -> int:
    if options.print:
        _print(rows_to_print(options.out))
        return 0
    sets = dict(read_set(text) for text in options.sets)
    alone = ",".join(name for name in METHODS if name not in NEED_A_RUN)
    names = [choose("method", name, METHODS) for name in (options.methods or alone).split(",")]
    wanted = [
        {
            "set": name,
            "method": method,
            "views": views,
            "seed": seed,
            "optimizer": "muon" if RULES.get(method, OTHER).muon else "sgd",
        }
        for seed in read_seeds(options.seeds)
        for views in options.views.split(",")
        for method in names
        for name in sets
    ]
    rows, failed = make_lacking(
        wanted,
        options.out,
        lambda what: _measure(what, *sets[what["set"]], options),
        name=lambda what: "{set} {method} {views} seed {seed}, {optimizer}".format(**what),
        place=_place,
        jobs=options.jobs,
    )
    _print(rows)
    return 1 if failed else 0


def _measure(what: dict[str, Any], train: str, test: str, options: argparse.Namespace) -> Any:
    """One run's row, with the conditions it was made under."""
    epochs = options.epochs or EPOCHS.get(what["set"], {}).get(what["views"])
    if epochs is None:
        raise UsageError(f"EPOCHS has no length for {what['set']} {what['views']}; give --epochs")
    words = ["--method", what["method"], "--views", what["views"], "--epochs", f"{epochs:g}"]
    more = ("--seed", str(what["seed"]), "--data", train, "--eval-data", test)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        found = train_once(words, run, *more)
        config = as_mapping(read_config(run))
    if config["optim"]["name"] != what["optimizer"]:
        raise DataError(
            f"a row of this table is fitted to a CPU, with {what['optimizer']}, got "
            f"{config['optim']['name']}; hide the GPU (CUDA_VISIBLE_DEVICES=)"
        )
    kept = {key: config[key] for key in ("backbone", "method", "optim", "loop")}
    return found | {"epochs": epochs, "jobs": options.jobs, "config": kept}


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    of_method = [*METHODS].index(row["method"]), row["optimizer"]
    return row["set"], *of_method, row["views"], row["seed"]


def _print(rows: list[dict[str, Any]]) -> None:
    head = ("set", "method", "optimizer", "views", "seed", "epochs", "random", "kNN", "gain")
    table = Table(*head, "seconds")
    for row in sorted(rows, key=_place):
        scores = (f"{row['random_knn']:.1%}", f"{row['knn']:.1%}", f"{gain(row):+.1f}")
        words = (row["set"], row["method"], row["optimizer"], row["views"], str(row["seed"]))
        words = (*words, f"{row['epochs']:g}")
        table.add_row(*words, *scores, f"{row['seconds']:.0f}")
    table_console().print(table)


if __name__ == "__main__":
    sys.exit(main())
