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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from benchmarks.methods.fitted import read_set
from benchmarks.parity.agreement_run import check_losses
from benchmarks.parity.frozen_score import score, weights_of
from benchmarks.parity.image_files import unpack
from benchmarks.parity.parity_table import print_agreement, print_table
from benchmarks.parity.shared_settings import PAIRS
from benchmarks.parity.sides import COMMANDS, ROOT, Job, Place, train
from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.index import ShardIndex
from shards.terminal.commandline import CommandParser
from trainer.checks import choose
from trainer.record.conditions import conditions

RESULTS = Path(__file__).parents[1] / "results" / "parity.json"
KEY = ("set", "epochs", "method", "seed", "side")


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
    add("--epochs", type=int, default=4, metavar="N", help="default: %(default)s")
    add("--jobs", type=int, default=1, metavar="N", help="runs at once")
    work = ROOT / "runs" / "parity"
    add("--work", type=Path, default=work, metavar="FOLDER", help="images and runs")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    add("--check", action="store_true", help="compare the methods' losses, and nothing else")
    add("--print", action="store_true", help="the table as it is, and nothing else")
    return parser


def _benchmark(options: argparse.Namespace) -> int:
    report = read_report(options.out)
    if options.print:
        if not report["rows"]:
            raise UsageError(f"{options.out} has no rows; run without --print first")
        print_table(report)
        return 0
    name, places = _check(options)
    jobs = lacking(report, jobs_of(options, name))
    lock, failed = Lock(), []

    def keep() -> None:
        write_whole(options.out, json.dumps(report, indent=2) + "\n")

    if options.check:
        check_losses(report, options.methods.split(","), options.peer_python)
        keep()
        print_agreement(report["agreement"])
        return 0
    if options.peer_python and jobs:
        check_losses(report, sorted({job.method for job in jobs}), options.peer_python)
        keep()
    options.work.mkdir(parents=True, exist_ok=True)
    images = options.work / f"images-{name}"
    if options.peer_python and jobs:
        images = unpack(places[0], images)
    place = Place(options.work, places[0], images, options.peer_python)

    def make(job: Job) -> None:
        try:
            row = train(job, place)
            weights = weights_of(place.of(job))
            with lock:  # torch's threads are shared
                row |= score(weights, *places)
        except DataError as error:
            failed.append(job)
            print(f"{job}: {error}", file=sys.stderr, flush=True)
            return
        with lock:
            report["rows"].append(row | {"jobs": options.jobs})
            report["rows"].sort(key=_order)
            keep()
        print(f"{job}: kNN {row['knn']:.1%}, linear {row['linear']:.1%}, {row['cpu_s']:.0f} CPU s",
              file=sys.stderr, flush=True)  # fmt: skip

    for seed in _numbers(options.seeds):
        _score_untrained(report, name, seed, places)
        keep()
    pool = ThreadPoolExecutor(options.jobs)
    try:
        list(pool.map(make, jobs))
    finally:  # Ctrl-C leaves the jobs that have not begun
        pool.shutdown(cancel_futures=True)
    print_table(report)
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> tuple[str, tuple[str, str]]:
    """The set; UsageError for what cannot be, before anything is made."""
    if options.set is None:
        raise UsageError("--set names the images, got none; write --set NAME=TRAIN,EVAL")
    name, places = read_set(options.set)
    for method in options.methods.split(","):
        choose("method", method, PAIRS)
    _numbers(options.seeds)
    for flag in ("epochs", "jobs"):
        if getattr(options, flag) < 1:
            got = getattr(options, flag)
            raise UsageError(f"--{flag} is at least 1, got {got}; try --{flag} 1")
    if not options.out.parent.is_dir():
        raise UsageError(f"--out lies in a folder that exists, got {options.out}; make it first")
    python = options.peer_python
    if python is not None and not Path(python).is_file():
        raise UsageError(f"--peer-python is a Python with lightly, got {python}; make bench-peers")
    if options.check and python is None:
        raise UsageError("--check compares with lightly, got no --peer-python; add it")
    for shards in places:
        ShardIndex.open(shards)
    return name, places


def jobs_of(options: argparse.Namespace, name: str) -> list[Job]:
    """All jobs of the command, the two sides of a method and seed one after the other."""
    sides = [side for side in COMMANDS if side == "ours" or options.peer_python]
    return [
        Job(name, options.epochs, method, seed, side)
        for seed in _numbers(options.seeds)
        for method in options.methods.split(",")
        for side in sides
    ]


def lacking(report: dict[str, Any], jobs: list[Job]) -> list[Job]:
    """Those that have no row yet."""
    done = {tuple(row[key] for key in KEY) for row in report["rows"]}
    return [job for job in jobs if tuple(getattr(job, key) for key in KEY) not in done]


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


def _numbers(text: str) -> list[int]:
    if not all(seed.isdigit() for seed in text.split(",")):
        raise UsageError(f"--seeds are whole numbers, got {text}; write --seeds 0,1,2")
    return [int(seed) for seed in text.split(",")]


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    sides = list(COMMANDS)
    place = [*PAIRS].index(row["method"])
    return row["set"], row["epochs"], place, row["seed"], sides.index(row["side"])


if __name__ == "__main__":
    sys.exit(main())
