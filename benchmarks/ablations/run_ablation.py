"""Ask a paper's question again, small: train an ablation's cells, and say what holds at this size.

    python -m benchmarks.ablations.run_ablation --list
    python -m benchmarks.ablations.run_ablation --which byol-batch --set sets/a,sets/b
    python -m benchmarks.ablations.run_ablation --which all --set ... --seeds 0,1,2 --jobs 2
    python -m benchmarks.ablations.run_ablation --which simsiam --print

A cell is one run of `python -m trainer.run --data TRAIN --eval-data EVAL WORDS --epochs N`. What
its words do not say is fitted, and alike for all cells of an ablation but for what is said of it.
Its score is kNN of the held-out images. Every row is written when it is there, and a later call
makes those that lack: hours of runs may be stopped and started. docs/ablations.md shows what was
found (python docs/make.py ablations). Six epochs of 10,000 images of 32 px are about 4 minutes of
one quiet core, more with small crops or small batches.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.ablations.ablation import UNTRAINED, Ablation, judged
from benchmarks.ablations.ablation_rows import (
    Length,
    Rows,
    key_of,
    lengths_of,
    rows_of,
    scores_of,
)
from benchmarks.ablations.ablation_table import ABLATIONS
from benchmarks.methods.lacking_rows import make_lacking, read_seeds, rows_to_print
from benchmarks.methods.one_run import train_once
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser, count
from shards.terminal.console import new_console, table_console
from trainer.checks import choose, require

RESULTS = Path(__file__).parents[1] / "results" / "ablations.json"
EPOCHS = 6.0
ALL = "all"


def main(argv: list[str] | None = None) -> int:
    """Train what lacks, write, print; returns 1 when a run failed."""
    return run_command(lambda: _run(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.ablations.run_ablation", __doc__)
    add = parser.add_argument
    add("--which", metavar="NAME,NAME|all", help="of --list")
    add("--list", action="store_true", help="the ablations, what the papers found, and the cells")
    add("--set", metavar="TRAIN,EVAL", help="labelled shards; a row has the name of TRAIN's folder")
    add("--seeds", default="0", metavar="N,N", help="default: %(default)s")
    add("--epochs", type=float, default=EPOCHS, metavar="N", help="default: %(default)g")
    add("--jobs", type=count, default=1, metavar="N", help="runs at once, each on its own core")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    add("--print", action="store_true", help="the tables as they are, and nothing else")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.list:
        _list()
        return 0
    chosen = _chosen(options.which)
    if options.print:
        _print(chosen, rows_to_print(options.out))
        return 0
    name, places = _folders(options.set)
    length = Length(name, options.epochs)
    require(options.epochs > 0, "--epochs is positive", options.epochs, f"try {EPOCHS:g}")
    keys = {
        tuple(key.items()): (key, cell)
        for seed in read_seeds(options.seeds)
        for ablation in chosen
        for cell in ablation.cells
        for key in [key_of(cell, length, seed)]
    }
    words = {key["cell"]: cell.words for key, cell in keys.values()}

    def measure(key: dict[str, Any]) -> dict[str, Any]:
        typed = [*words[key["cell"]], "--epochs", f"{options.epochs:g}"]
        more = ("--seed", str(key["seed"]), "--data", places[0], "--eval-data", places[1])
        with tempfile.TemporaryDirectory() as folder:
            return train_once(typed, Path(folder) / "run", *more) | {"jobs": options.jobs}

    rows, failed = make_lacking(
        [key for key, _ in keys.values()],
        options.out,
        measure,
        name=lambda key: f"{key['set']} {key['cell']} seed {key['seed']}",
        place=lambda row: [row[key] for key in ("set", "epochs", "cell", "seed")],
        jobs=options.jobs,
    )
    _print(chosen, rows)
    return 1 if failed else 0


def _chosen(which: str | None) -> list[Ablation]:
    if which is None:
        raise UsageError(f"--which names ablations, got none; give {ALL}, or some of --list")
    if which == ALL:
        return [*ABLATIONS.values()]
    return [ABLATIONS[choose("ablation", name, [*ABLATIONS, ALL])] for name in which.split(",")]


def _folders(text: str | None) -> tuple[str, tuple[str, str]]:
    """The set's name, and the places of its two parts."""
    train, _, test = (text or "").partition(",")
    if not (train and test) or "," in test:
        raise UsageError(f"--set reads TRAIN,EVAL, got {text or 'none'}; name two sets of shards")
    for place in (train, test):
        there = "://" in place or Path(place).is_dir()
        require(there, "--set names folders of shards", place, "make_shards makes them")
    rule = "--set scores other images than it trains on"
    require(train != test, rule, train, "an image would be its own neighbour")
    path = Path(train)
    return (path.resolve() if path.is_dir() else path).name, (train, test)


def _list() -> None:
    console = new_console(soft_wrap=True)
    for ablation in ABLATIONS.values():
        console.print(f"{ablation.name}: {ablation.question}", style="bold")
        console.print(f"  {ablation.finding} ({ablation.source})")
        console.print(f"  Here: {ablation.unlike}")
        for cell in ablation.cells:
            console.print(f"  - {cell.label}: {key_of(cell, Length('', 0), 0)['cell']}")


def _print(ablations: list[Ablation], rows: Rows) -> None:
    console = table_console()
    for ablation in ablations:
        lengths = lengths_of([ablation], rows)
        if not lengths:
            console.print(f"{ablation.name}: not run")
        for length in lengths:
            title = f"{ablation.name}, {length.set}, {length.epochs:g} epochs"
            _print_one(ablation, rows, length, title)


def _print_one(ablation: Ablation, rows: Rows, length: Length, title: str) -> None:
    console, scores = table_console(), scores_of(ablation, rows, length)
    table = Table("cell", "kNN", "gain", "seeds", "loss", "std", "minutes", title=title)
    for cell in ablation.cells:
        found = rows_of(cell, rows, length)
        if cell.label not in scores:
            table.add_row(cell.label, "not run" if not found else "seeds lack")
            continue
        gain, last = scores[cell.label] - scores[UNTRAINED], found[-1]
        numbers = (f"{scores[cell.label]:.1f}%", f"{gain:+.1f}", str(len(found)))
        more = (f"{last['last_loss']:.3f}", f"{last['std']:.2f}", f"{last['seconds'] / 60:.1f}")
        table.add_row(cell.label, *numbers, *more)
    console.print(table)
    for verdict in judged(ablation, scores):
        console.print(str(verdict))


if __name__ == "__main__":
    sys.exit(main())
