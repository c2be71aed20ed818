"""Do label-free measures order checkpoints as accuracies do? Rank correlations, on images.

    python -m benchmarks.methods.label_free_study --set cifar10k=sets/cifar10k,sets/cifar10_test
    python -m benchmarks.methods.label_free_study --set cifar10k=... --methods simclr --epochs 8
    python -m benchmarks.methods.label_free_study --print

A row is one run of `python -m trainer.run --data TRAIN --eval-data EVAL --method M --views V
--epochs N` with a score, the label-free measures and a checkpoint of every epoch; a linear probe is
fitted to each checkpoint then, as `python -m trainer.evaluate` does. Runs stay in --runs and every
row is written when it is there: a later call makes those that lack, and goes on with a run that
was ended. What the rows say (study_tables.py) is written beside them, and docs/evaluation.md shows
it (python docs/make.py evaluation). Five runs of four epochs of 10,000 images of 32 px take about
40 minutes of one core.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.methods.lacking_rows import make_lacking, read_seeds, read_set, rows_to_print
from benchmarks.methods.one_run import NEED_A_RUN
from benchmarks.methods.study_run import train_and_score
from benchmarks.methods.study_tables import ACCURACIES, analysis, in_words, name_of
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from trainer.checks import choose
from trainer.eval.label_free import MEASURES
from trainer.methods.method_table import METHODS

RESULTS = Path(__file__).parents[1] / "results" / "label_free_study.json"
_KEYS = ("set", "method", "views", "seed", "epochs")


def main(argv: list[str] | None = None) -> int:
    """Train and score what lacks, write, print; returns 1 when a run failed."""
    return run_command(lambda: _study(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.methods.label_free_study", __doc__)
    add = parser.add_argument
    add("--set", dest="sets", action="append", default=[], metavar="NAME=TRAIN,EVAL")
    add("--methods", default="simclr,swav,byol,vicreg,simsiam", metavar="A,B", help="%(default)s")
    add("--views", default="2", metavar="V,V", help="2 (default), 2+6")
    add("--seeds", default="0", metavar="N,N", help="default: %(default)s")
    add("--epochs", type=float, default=4.0, metavar="N", help="default: %(default)g")
    add("--runs", type=Path, default=Path("runs/label_free_study"), metavar="DIR",
        help="where the runs stay (default: %(default)s)")  # fmt: skip
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    add("--print", action="store_true", help="the tables as they are, and nothing else")
    return parser


def _study(options: argparse.Namespace) -> int:
    if options.print:
        _print(rows_to_print(options.out))
        return 0
    wanted, sets = _wanted(options)
    rows, failed = make_lacking(
        wanted,
        options.out,
        lambda what: _measure(what, *sets[what["set"]], options.runs),
        name=name_of,
        tell=lambda row: "kNN " + ", ".join(f"{point['knn']:.1%}" for point in row["points"]),
        place=lambda row: [row[key] for key in _KEYS],
        report=lambda rows: {"rows": rows, "analysis": analysis(rows)},
    )
    if rows:
        _print(rows)
    return 1 if failed else 0


def _wanted(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, tuple[str, str]]]:
    """The runs that are asked for, and the folders of each set."""
    sets = dict(read_set(text) for text in options.sets)
    if not sets:
        raise UsageError("a study trains on a set, got no --set; give --set NAME=TRAIN,EVAL")
    alone = [name for name in METHODS if name not in NEED_A_RUN]
    names = [choose("method", name, alone) for name in options.methods.split(",")]
    if options.epochs < 2:
        raise UsageError(
            f"a run of the study has two epochs or more, got --epochs {options.epochs:g}; an order "
            "needs checkpoints: give 4"
        )
    wanted: list[dict[str, Any]] = [
        dict(zip(_KEYS, (name, method, views, seed, options.epochs), strict=True))
        for name in sets
        for seed in read_seeds(options.seeds)
        for views in options.views.split(",")
        for method in names
    ]
    return wanted, sets


def _measure(what: dict[str, Any], train: str, test: str, runs: Path) -> dict[str, Any]:
    values = {key: what[key] for key in _KEYS[1:-1]} | {"epochs": f"{what['epochs']:g}"}
    words = [word for key, value in values.items() for word in (f"--{key}", str(value))]
    run = runs / "-".join(map(str, (what["set"], *values.values())))
    return train_and_score(words, run, "--data", train, "--eval-data", test)


def _print(rows: list[dict[str, Any]]) -> None:
    points, console, found = Table("run", "step", *_POINT), table_console(), analysis(rows)
    for row in rows:
        for point in row["points"]:
            cells = (format(point[key], form) for key, form in _POINT.items())
            points.add_row(name_of(row), str(point["step"]), *cells)
    console.print(points)
    for where in ("across_runs", "last_of_each_run", "within_runs", "within_runs_and_untrained"):
        console.print(_correlation_table(where, found[where]))
    for run, measures in found["each_run"].items():
        console.print(_correlation_table(f"{run}, with its untrained encoder", measures))
    regrets = Table("kept by", *found["choices"], title="regret, points of kNN")
    for rule in found["across_choices"]:
        regrets.add_row(rule, *(f"{c[rule]['knn_regret']:.1f}" for c in found["choices"].values()))
    console.print(regrets)


_FORMS = {name: form for name, (_, form) in MEASURES.items()}
_POINT = {"knn": ".1%", "linear": ".1%", **_FORMS, "loss": ".3f"}


def _correlation_table(title: str, measures: dict[str, Any]) -> Table:
    kinds = [(of, kind) for of in ACCURACIES for kind in ("spearman", "kendall")]
    table = Table("measure", *(f"{kind}, {of}" for of, kind in kinds), title=title)
    for name, by_accuracy in measures.items():
        table.add_row(name, *(in_words(by_accuracy[of][kind]) for of, kind in kinds))
    return table


if __name__ == "__main__":
    sys.exit(main())
