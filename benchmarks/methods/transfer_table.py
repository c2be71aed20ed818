r"""Do features of one set serve another? Encoders of runs, each probed on every set of --to.

    python -m trainer.run --data sets/tiny --eval-data sets/tiny_val --minutes 25 --out runs/tiny
    python -m trainer.run --config runs/tiny/config.yaml optim.base_lr=1e-12 --epochs 1 \
        --out runs/none
    python -m benchmarks.methods.transfer_table --run trained=runs/tiny --run untrained=runs/none \
        --to cifar10=sets/c10,sets/c10_test --to fashion=sets/fashion,sets/fashion_test

The second run learns nothing: its encoder is the first one's before training, with batch statistics
of the same images. A row is a run on a set, by `trainer.evaluate RUN --protocol transfer`; it is
written when it is there, and a later call makes those that lack. docs/evaluation.md shows them
(python docs/make.py evaluation).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.methods.lacking_rows import make_lacking, read_set
from benchmarks.methods.one_run import python
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser
from trainer.record.conditions import conditions
from trainer.record.rundir import read_config

RESULTS = Path(__file__).parents[1] / "results" / "transfer.json"


def main(argv: list[str] | None = None) -> int:
    """Probe what lacks, write, print; returns 1 when a probe failed."""
    parser = CommandParser("python -m benchmarks.methods.transfer_table", __doc__)
    add = parser.add_argument
    add("--run", dest="runs", action="append", required=True, metavar="NAME=RUN")
    add("--to", action="append", required=True, metavar="NAME=TRAIN,EVAL")
    add("--seeds", default="0,1,2", metavar="N,N", help="of the probe (default: %(default)s)")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    return run_command(lambda: _transfer(parser.parse_args(argv)))


def _transfer(options: argparse.Namespace) -> int:
    runs = dict(_read_run(text) for text in options.runs)
    sets = {read_set(text, "--to")[0]: text for text in options.to}
    _, failed = make_lacking(
        [{"encoder": name, "set": to} for name in runs for to in sets],
        options.out,
        lambda what: _measure(runs[what["encoder"]], sets[what["set"]], options.seeds),
        name=lambda what: "{encoder} on {set}".format(**what),
        tell=lambda row: f"{row['linear']:.1%} linear, {row['knn']:.1%} kNN",
    )
    return 1 if failed else 0


def _read_run(text: str) -> tuple[str, Path]:
    name, separator, run = text.partition("=")
    if not (name and separator and run):
        raise UsageError(f"--run names a run, got {text}; write --run NAME=FOLDER")
    return name, Path(run)


def _measure(run: Path, to: str, seeds: str) -> dict[str, Any]:
    """One run on one set; what it was trained by is told without its folders."""
    config = read_config(run)
    groups = config.policy.load().groups
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "transfer.json"
        words = ("--protocol", "transfer", "--seeds", seeds, "--to", to, "--json", str(report))
        python("trainer.evaluate", str(run), *words)
        (row,) = json.loads(report.read_text(encoding="utf-8"))["rows"]
    linear, per_class, knn = row["scores"]
    return {
        "linear": linear,
        "spread": row["spread"],
        "per_class": per_class,
        "knn": knn,
        "note": row["note"],
        "seeds": seeds,
        "method": config.method.name,
        "arch": f"{config.backbone.arch} x {config.backbone.width:g}",
        "views": " + ".join(f"{group.count} x {group.size_px} px" for group in groups),
        "epochs": config.loop.epochs,
        "base_lr": config.optim.base_lr,
        "conditions": conditions(),
    }


if __name__ == "__main__":
    sys.exit(main())
