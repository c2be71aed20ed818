r"""Ours beside the best of lightly, for equal processor time.

    make bench-peers                       # builds .venv-peers, where lightly is
    python -m benchmarks.minutes.peers_best --peer-python .venv-peers/bin/python \
        --train sets/cifar45k --scored-on sets/cifar5k --core-seconds 120
    python -m benchmarks.minutes.peers_best --peer-python .venv-peers/bin/python --voters 0 \
        --train sets/c10 --scored-on sets/c10_test --beside fast_cifar10 --ideas chosen
    python -m benchmarks.minutes.peers_best --print

The first command tries each idea of peer_ideas.py on held-out training images: as many trials as
ours had (minutes.py). The second one trains a recipe of ours, start and end included, and then the
chosen ideas for as many seconds of a core. kNN is of one evaluator (k=20, T=0.07, --voters of the
training images vote). A row is written when it is there; a later call makes those that lack.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.methods.lacking_rows import Row, make_lacking, rows_to_print
from benchmarks.minutes.minute_trial import knn_of, with_keys
from benchmarks.minutes.peer_ideas import PEER_IDEAS
from benchmarks.parity.command_costs import run_watched
from benchmarks.parity.image_files import unpack
from benchmarks.parity.shared_settings import DEPTH
from benchmarks.parity.sides import ROOT
from shards.errors import UsageError, run_command
from shards.index import ShardIndex
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from shards.terminal.output_file import check_output
from trainer.checks import choose, require
from trainer.encoders.load_encoder import load_encoder
from trainer.nets.resnet import ResNet
from trainer.record.conditions import conditions
from trainer.record.log import read_metrics

RESULTS = Path(__file__).parents[1] / "results" / "peers_best.json"
_ONE_THREAD = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def main(argv: list[str] | None = None) -> int:
    """Make the rows that lack, write, print; returns 1 when a run failed."""
    return run_command(lambda: _benchmark(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.minutes.peers_best", __doc__)
    add = parser.add_argument
    add("--train", metavar="SET", help="shards to train on")
    add("--scored-on", metavar="SET", help="labelled shards; to choose by: of the training images")
    add("--peer-python", metavar="PATH", help="a Python with lightly")
    add("--ideas", default=",".join(PEER_IDEAS), metavar="A,B", help="default: all, in their order")
    add("--core-seconds", type=float, default=120.0, metavar="S", help="default: %(default)g")
    add(
        "--beside", metavar="RECIPE", help="train this recipe of ours first; its time is the budget"
    )
    add("--voters", type=int, default=10_000, metavar="N", help="0: all; default: %(default)s")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--work", type=Path, default=ROOT / "runs" / "peers_best", metavar="FOLDER")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    add("--print", action="store_true", help="the table as it is, and nothing else")
    return parser


def _benchmark(options: argparse.Namespace) -> int:
    if options.print:
        _print(rows_to_print(options.out))
        return 0
    _check(options)
    options.work.mkdir(parents=True, exist_ok=True)
    images = unpack(options.train, options.work / f"images-{Path(options.train).name}")
    failed: list[str] = []
    seconds = options.core_seconds
    if options.beside:
        ours = _what(options, "ours", options.beside, None)
        rows, failed = _made([ours], options, images)
        mine = [row for row in rows if ours.items() <= row.items()]
        seconds = mine[0]["spent_core_seconds"] if mine else None
    if seconds is not None:
        names = options.ideas.split(",")
        theirs = [_what(options, "lightly", name, seconds) for name in names]
        rows, more = _made(theirs, options, images)
        failed += more
        _print(rows)
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> None:
    """UsageError for what cannot be, before anything is made."""
    for name in options.ideas.split(","):
        choose("idea", name, PEER_IDEAS)
    require(options.core_seconds > 0, "--core-seconds is positive", options.core_seconds, "try 120")
    require(options.voters >= 0, "--voters is 0 or more", options.voters, "0: all vote")
    check_output("--out", options.out)
    python = options.peer_python
    if python is None or not Path(python).is_file():
        raise UsageError(f"--peer-python is a Python with lightly, got {python}; make bench-peers")
    if options.train is None or options.scored_on is None:
        raise UsageError("a run needs two sets, got none; give --train SET --scored-on SET")
    for shards in (options.train, options.scored_on):
        ShardIndex.open(shards)


def _what(options: argparse.Namespace, side: str, name: str, seconds: float | None) -> Row:
    """What tells a row from the others; a recipe's length is its own."""
    sets = {"train": Path(options.train).name, "scored_on": Path(options.scored_on).name}
    same = {"side": side, "idea": name, "seed": options.seed, "voters": options.voters} | sets
    return same if seconds is None else same | {"core_seconds": seconds}


def _made(
    wanted: list[Row], options: argparse.Namespace, images: Path
) -> tuple[list[Row], list[str]]:
    def measure(what: Row) -> Row:
        before = conditions()
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            make = _ours if what["side"] == "ours" else _theirs
            encoder, row = make(what, options, images, Path(folder))
        config = with_keys(options.train, ("eval.k=20", "eval.temperature=0.07"))
        votes = replace(config.eval, max_train_images=options.voters)
        knn = knn_of(encoder, replace(config, eval=votes), options.scored_on)
        return {"knn": knn, **row, "conditions": before}

    return make_lacking(
        wanted,
        options.out,
        measure,
        name=lambda what: f"{what['side']} {what['idea']}",
        tell=lambda row: f"kNN {row['knn']:.1%}, {row['spent_core_seconds']:.0f} core-seconds",
    )


def _ours(
    what: Row, options: argparse.Namespace, images: Path, folder: Path
) -> tuple[torch.nn.Module, Row]:
    """A recipe of ours as anyone types it, without scores while it trains."""
    run = folder / "run"
    words = ["--config", what["idea"], "--data", options.train, "--seed", str(what["seed"])]
    command = [sys.executable, "-m", "trainer.run", *words, "--out", str(run)]
    taken = run_watched(command, folder / "log", _ONE_THREAD)
    last = [record for record in read_metrics(run) if "loss" in record][-1]
    row = {"steps": last["step"], "last_loss": last["loss"], "spent_core_seconds": taken.cpu_s}
    return load_encoder(run).module, row


def _theirs(
    what: Row, options: argparse.Namespace, images: Path, folder: Path
) -> tuple[torch.nn.Module, Row]:
    """Lightly for the budget; start and end of its process come on top."""
    idea, length = PEER_IDEAS[what["idea"]], ["--core-seconds", str(what["core_seconds"])]
    words = ["--idea", what["idea"], *length, "--seed", str(what["seed"])]
    command = [options.peer_python, "-m", "benchmarks.minutes.peer_trial", *words]
    where = ["--images", str(images), "--out", str(folder)]
    taken = run_watched([*command, *where], folder / "log", _ONE_THREAD)
    encoder = ResNet(DEPTH, width=idea.width, stem=idea.stem)
    encoder.load_state_dict(torch.load(folder / "encoder.pt", weights_only=True))
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return encoder.eval(), record | {"spent_core_seconds": taken.cpu_s}


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("train", "scored on", "side", "idea", "core-s", "steps", "kNN")
    for row in sorted(rows, key=lambda row: (row["scored_on"], -row["knn"])):
        spent = f"{row['spent_core_seconds']:.0f}"
        sets = (row["train"], row["scored_on"])
        table.add_row(
            *sets, row["side"], row["idea"], spent, f"{row['steps']:,}", f"{row['knn']:.1%}"
        )
    table_console().print(table)


if __name__ == "__main__":
    sys.exit(main())
