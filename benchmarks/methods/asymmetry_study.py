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
import sys
import tempfile
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.methods.fitted import read_set
from benchmarks.methods.lacking_rows import check_out, make_lacking, read_seeds
from benchmarks.methods.one_run import read_rows, train_once
from shards.errors import UsageError, run_command
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
    if options.print:
        rows: list[dict[str, Any]] = read_rows(options.out, "rows") or []
        if not rows:
            raise UsageError(f"{options.out} has no rows; run without --print first")
        _print(rows)
        return 0
    check_out(options.out)
    if not options.epochs > 0:
        raise UsageError(f"--epochs is positive, got {options.epochs:g}; try --epochs 8")
    sets = dict(read_set(text) for text in options.sets) or {DEMO: None}

    def measure(key: dict[str, Any]) -> dict[str, Any]:
        words, places = command(_switches(key), key["set"], options.epochs), sets[key["set"]]
        where = ["--data", places[0], "--eval-data", places[1]] if places else []
        with tempfile.TemporaryDirectory() as folder:
            return train_once(words, Path(folder) / "run", "--seed", str(key["seed"]), *where)

    rows, failed = make_lacking(
        [
            {"set": name, "seed": seed, "epochs": options.epochs, **asdict(what)}
            for seed, name, what in product(read_seeds(options.seeds), sets, ALL)
        ],
        options.out,
        measure,
        name=lambda key: f"{key['set']} {_switches(key)} seed {key['seed']}",
    )
    _print(rows)
    return 1 if failed else 0


def _switches(key: dict[str, Any]) -> Switches:
    return Switches(**{field.name: key[field.name] for field in fields(Switches)})


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
