r"""Do we train as well as lightly does? Each method on both sides, scored by one evaluator.

    make bench-peers                       # builds .venv-peers, where lightly is
    python -m benchmarks.parity.run_parity --set cifar10k=sets/c10,sets/c10_test \
        --peer-python .venv-peers/bin/python --methods simclr,byol --seeds 0,1,2 --epochs 4
    python -m benchmarks.parity.run_parity --print

Both sides share encoder, first weights of it, images, views, batch, optimizer, schedule, length and
seed (shared_settings.py); transforms, loader, heads and losses are each side's own. First every
method's loss is taken of one batch with the same weights (loss_agreement.py): one that differs
unexplained is not trained (--check does that alone). Then the jobs, the two sides of a seed one
after the other. A row is written when it is there, and a later call makes those that lack. Without
--peer-python only our side's rows are made. docs/evaluation.md shows the table (python docs/make.py
evaluation).
"""

import argparse
import json
import sys
from pathlib import Path
from threading import Lock
from typing import Any

from benchmarks.methods.lacking_rows import (
    Row,
    lacking,
    make_lacking,
    read_seeds,
    read_set,
    rows_to_print,
)
from benchmarks.parity.agreement_run import check_losses
from benchmarks.parity.frozen_score import score, weights_of
from benchmarks.parity.image_files import unpack
from benchmarks.parity.parity_table import print_agreement, print_table
from benchmarks.parity.shared_settings import PAIRS
from benchmarks.parity.sides import COMMANDS, ROOT, Job, Place, train
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.index import ShardIndex
from shards.terminal.commandline import CommandParser, count
from shards.terminal.output_file import check_output
from trainer.checks import choose
from trainer.record.conditions import conditions

RESULTS = Path(__file__).parents[1] / "results" / "parity.json"


def main(argv: list[str] | None = None) -> int:
    """Make what lacks, write, print; returns 1 when a run failed."""
    return run_command(lambda: _benchmark(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.parity.run_parity", __doc__)
    add = parser.add_argument
    add("--set", metavar="NAME=TRAIN,EVAL")
    add("--peer-python", metavar="PATH", help="a Python with lightly; none: our side alone")
    add("--methods", default=",".join(PAIRS), metavar="A,B", help="default: all")
    add("--seeds", default="0", metavar="N,N", help="default: %(default)s")
    add("--epochs", type=count, default=4, metavar="N", help="default: %(default)s")
    add("--jobs", type=count, default=1, metavar="N", help="runs at once")
    work = ROOT / "runs" / "parity"
    add("--work", type=Path, default=work, metavar="FOLDER", help="images and runs")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    add("--check", action="store_true", help="compare the methods' losses, and nothing else")
    add("--print", action="store_true", help="the table as it is, and nothing else")
    return parser


def _benchmark(options: argparse.Namespace) -> int:
    report = read_report(options.out)
    if options.print:
        print_table(report | {"rows": rows_to_print(options.out)})
        return 0
    name, places = _check(options)
    jobs, lock = lacking(_wanted(options, name), report["rows"]), Lock()

    def keep() -> None:
        write_whole(options.out, json.dumps(report, indent=2) + "\n")

    if options.check:
        check_losses(report, options.methods.split(","), options.peer_python)
        keep()
        print_agreement(report["agreement"])
        return 0
    if options.peer_python and jobs:
        check_losses(report, sorted({job["method"] for job in jobs}), options.peer_python)
        keep()
    options.work.mkdir(parents=True, exist_ok=True)
    images = options.work / f"images-{name}"
    if options.peer_python and jobs:
        images = unpack(places[0], images)
    place = Place(options.work, places[0], images, options.peer_python)

    def measure(what: Row) -> Row:
        job = Job(**what)
        row = train(job, place)
        weights = weights_of(place.of(job))
        with lock:  # torch's threads are shared
            return row | score(weights, *places) | {"jobs": options.jobs}

    for seed in read_seeds(options.seeds):
        _score_untrained(report, name, seed, places)
        keep()
    report["rows"], failed = make_lacking(
        jobs,
        options.out,
        measure,
        name=lambda what: str(Job(**what)),
        tell=lambda row: (
            f"kNN {row['knn']:.1%}, linear {row['linear']:.1%}, {row['cpu_s']:.0f} CPU s"
        ),
        place=_order,
        report=lambda rows: report | {"rows": rows},
        jobs=options.jobs,
    )
    print_table(report)
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> tuple[str, tuple[str, str]]:
    """The set; UsageError for what cannot be, before anything is made."""
    if options.set is None:
        raise UsageError("--set names the images, got none; write --set NAME=TRAIN,EVAL")
    name, places = read_set(options.set)
    for method in options.methods.split(","):
        choose("method", method, PAIRS)
    read_seeds(options.seeds)
    check_output("--out", options.out)
    python = options.peer_python
    if python is not None and not Path(python).is_file():
        raise UsageError(f"--peer-python is a Python with lightly, got {python}; make bench-peers")
    if options.check and python is None:
        raise UsageError("--check compares with lightly, got no --peer-python; add it")
    for shards in places:
        ShardIndex.open(shards)
    return name, places


def _wanted(options: argparse.Namespace, name: str) -> list[Row]:
    """What makes all jobs of the command, the two sides of a method and seed one by one."""
    sides = [side for side in COMMANDS if side == "ours" or options.peer_python]
    return [
        {"set": name, "epochs": options.epochs, "method": method, "seed": seed, "side": side}
        for seed in read_seeds(options.seeds)
        for method in options.methods.split(",")
        for side in sides
    ]


def read_report(out: Path) -> dict[str, Any]:
    """What a file has already."""
    if out.is_file():
        return json.loads(out.read_text(encoding="utf-8"))
    return {"agreement": {}, "untrained": [], "rows": []}


def _score_untrained(report: dict[str, Any], name: str, seed: int, places: tuple[str, str]) -> None:
    """The encoder that both sides of a seed begin with."""
    if any((row["set"], row["seed"]) == (name, seed) for row in report["untrained"]):
        return
    row = {"set": name, "seed": seed} | score(seed, *places) | {"conditions": conditions()}
    report["untrained"].append(row)


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    sides = list(COMMANDS)
    place = [*PAIRS].index(row["method"])
    return row["set"], row["epochs"], place, row["seed"], sides.index(row["side"])


if __name__ == "__main__":
    sys.exit(main())
