"""What of MoCo's and BYOL's asymmetry matters: sixteen runs that differ in four switches alone.

    python -m benchmarks.methods.asymmetry_study [--set cifar10k=sets/train,sets/eval ...]
    python -m benchmarks.methods.asymmetry_study --print

The question of Huang, Kong, Zhang 2022 (2208.00275): MoCo v2+ is `+n +p +m +s`, BYOL `-n +p +m +s`,
SimSiam's way `-n +p -m +s`. Negatives: a queue, or none. Predictor: on queries, or none. Momentum:
to 1 on a cosine, or 0, so that both sides are one network. Symmetric: both directions, or one.
Heads, views, encoder, rate and length are the same for all sixteen. The sum over both directions is
twice a single one, so one direction has twice the rate. Without --set the set is the demo's.

Every row is written when it is there, and a later call makes those that lack: hours of runs may be
stopped and started.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.methods.fitted import read_set
from benchmarks.methods.one_run import read_rows, train_once
from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.terminal.console import table_console

RESULTS = Path(__file__).parents[1] / "results" / "asymmetry.json"
DEMO = "demo"
RATE = 0.2  # of both directions, for a batch of 256: BYOL's in its demo and its fitted recipe


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Switches:
    """One of the sixteen."""

    negatives: bool
    predictor: bool
    momentum: bool
    symmetric: bool

    def __str__(self) -> str:
        return " ".join(f"{'+' if on else '-'}{name[0]}" for name, on in asdict(self).items())

    def words(self) -> list[str]:
        """The keys of `trainer.run` that are this one's own."""
        settings = {
            "hidden_dim": 256,
            "out_dim": 64,
            "predictor": _yaml(self.predictor),
            "symmetric": _yaml(self.symmetric),
            "momentum": 0.98 if self.momentum else 0.0,
            "ramp": _yaml(self.momentum),
        }
        if self.negatives:
            settings |= {"head": "mlp_norm", "groups": 1, "shuffle": "false", "enqueue": "one"}
            settings |= {"queue_length": 256, "temperature": 0.2}
        rate = RATE if self.symmetric else 2 * RATE
        keys = [f"method.{key}={value}" for key, value in settings.items()]
        return [
            "--method",
            "mocov2" if self.negatives else "byol",
            *keys,
            f"optim.base_lr={rate:g}",
        ]


ALL = [
    Switches(negatives=n, predictor=p, momentum=m, symmetric=s)
    for n, p, m, s in product((True, False), repeat=4)
]


def main(argv: list[str] | None = None) -> int:
    """Train what lacks, write, print; returns 1 when a run failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.methods.asymmetry_study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--set", dest="sets", action="append", default=[], metavar="NAME=TRAIN,EVAL")
    add("--seeds", default="0", metavar="N,N", help="default: %(default)s")
    add("--epochs", type=float, default=8.0, metavar="N", help="default: %(default)g")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    add("--print", action="store_true", help="the table as it is, and nothing else")
    options = parser.parse_args(argv)
    return run_command(lambda: _study(options))


def command(what: Switches, name: str, epochs: float) -> list[str]:
    """`python -m trainer.run` of one row, without the places of its set."""
    start = ["--config", "byol_demo"] if name == DEMO else ["optim.warmup_epochs=1"]
    return [*start, "--views", "2", *what.words(), "--epochs", f"{epochs:g}"]


def _study(options: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = read_rows(options.out, "rows") or []
    if options.print:
        if not rows:
            raise UsageError(f"{options.out} has no rows; run without --print first")
        _print(rows)
        return 0
    if not options.out.parent.is_dir():
        raise UsageError(f"--out lies in a folder that exists, got {options.out}; make it first")
    if not options.epochs > 0:
        raise UsageError(f"--epochs is positive, got {options.epochs:g}; try --epochs 8")
    sets = dict(read_set(text) for text in options.sets) or {DEMO: None}
    failed = []
    for seed, (name, places), what in product(_seeds(options.seeds), sets.items(), ALL):
        key = {"set": name, "seed": seed, "epochs": options.epochs, **asdict(what)}
        if any(key.items() <= row.items() for row in rows):
            continue
        words = command(what, name, options.epochs)
        where = ["--data", places[0], "--eval-data", places[1]] if places else []
        print(f"{name} {what} seed {seed}: training", file=sys.stderr, flush=True)
        try:
            with tempfile.TemporaryDirectory() as folder:
                row = train_once(words, Path(folder) / "run", "--seed", str(seed), *where)
        except DataError as error:
            failed.append(str(what))
            print(f"{name} {what} seed {seed}: {error}", file=sys.stderr, flush=True)
            continue
        rows.append(key | row)
        write_whole(options.out, json.dumps({"rows": rows}, indent=2) + "\n")
    _print(rows)
    return 1 if failed else 0


def _seeds(text: str) -> list[int]:
    if not all(seed.isdigit() for seed in text.split(",")):
        raise UsageError(f"--seeds are whole numbers, got {text}; write --seeds 0,1,2")
    return [int(seed) for seed in text.split(",")]


def _print(rows: list[dict[str, Any]]) -> None:
    switches = list(asdict(ALL[0]))
    table = Table("set", "seed", "epochs", *switches, "random", "kNN", "gain", "std")
    for row in sorted(rows, key=lambda row: (row["set"], row["seed"], -row["knn"])):
        marks = ("yes" if row[name] else "no" for name in switches)
        gain = 100 * (row["knn"] - row["random_knn"])
        scores = (f"{row['random_knn']:.1%}", f"{row['knn']:.1%}", f"{gain:+.1f}")
        head = (row["set"], str(row["seed"]), f"{row['epochs']:g}")
        table.add_row(*head, *marks, *scores, f"{row['std']:.3f}")
    table_console().print(table)


def _yaml(value: bool) -> str:
    return str(value).lower()


if __name__ == "__main__":
    sys.exit(main())
