"""One trial: the base with some keys changed, trained for a budget of processor time, scored once.

    python -m benchmarks.minutes.minute_trial --train SET --held-out SET --core-seconds 60 KEY=VALUE

Prints a row as JSON. The budget is what the base needs at BASE_RATE for its images; the trial's
images follow from the ratio of both costs (processor_cost.py), its epochs and warm-up from these.
Scored is kNN (k=20, T=0.07, 10,000 of the training images vote) on held-out training images.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.minutes.processor_cost import costs
from shards.errors import run_command
from shards.terminal.commandline import CommandParser
from trainer.command.scored_run import open_evaluation
from trainer.config import TrainConfig
from trainer.encoders.load_encoder import load_encoder
from trainer.eval.online import OnlineKnn
from trainer.recipes.overlay import overlay
from trainer.recipes.recipe import read_recipe, resolve
from trainer.record.conditions import conditions
from trainer.record.log import read_metrics
from trainer.settings.strict import merge, parse_override
from trainer.setup.data_sets import open_training
from trainer.train import train

BASE = Path(__file__).parent / "base.yaml"
# Images of the base, two views each, that one quiet core trains on in a second.
BASE_RATE = 280.0
WARMUP = 0.05  # share of a run


def run_trial(
    train_set: str,
    held_out: str,
    core_seconds: float,
    keys: Sequence[str],
    warmup: float = WARMUP,  # share of the run
) -> dict[str, Any]:
    """Train and score; the row without its name."""
    before = conditions()
    base, config = (with_keys(train_set, some) for some in ((), keys))
    base_s, own_s = costs([base, config]) if config != base else (1.0, 1.0)
    images = core_seconds * BASE_RATE * base_s / own_s
    config = with_length(config, images, warmup)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        began = time.process_time()
        train(config, run)
        spent = time.process_time() - began
        steps = [record for record in read_metrics(run) if "loss" in record]
        knn = knn_of(load_encoder(run).module, config, held_out)
    return {
        "keys": list(keys),
        "warmup": warmup,
        "knn": knn,
        "core_seconds": core_seconds,
        "cost": own_s / base_s,
        "images": round(images),
        "steps": steps[-1]["step"],
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "std": steps[-1]["std"],
        "rank": steps[-1]["rank"],
        "spent_core_seconds": spent,
        "conditions": before,
    }


def with_keys(train_set: str, keys: Sequence[str]) -> TrainConfig:
    """The base on a set, with keys changed, without scores while it trains."""
    typed: dict[str, Any] = {}
    quiet = ("run.device=cpu", "run.loggers=[]", "run.save_every_epochs=1000")
    for text in (f"data.train={train_set}", *quiet, *keys):
        typed = merge(typed, parse_override(text))
    values, _ = overlay(read_recipe(str(BASE)), typed)
    return resolve(values)


def with_length(config: TrainConfig, images: float, warmup: float) -> TrainConfig:
    """The config with so many images, and a warm-up of a share of them."""
    epochs = images / open_training(config).epoch_samples
    optim = replace(config.optim, warmup_epochs=warmup * epochs)
    return replace(config, loop=replace(config.loop, epochs=epochs), optim=optim)


def knn_of(encoder: nn.Module, config: TrainConfig, scored_on: str) -> float:
    """KNN of an encoder on a set's images; those trained on vote."""
    config = replace(config, eval=replace(config.eval, data=scored_on, label_free=False))
    asked = open_evaluation(config, probe_seconds=0)
    return OnlineKnn(asked.views, asked.sets, asked.device)(encoder.to(asked.device)).knn


def main(argv: list[str] | None = None) -> int:
    """Make a row and print it."""
    parser = CommandParser("python -m benchmarks.minutes.minute_trial", __doc__)
    add = parser.add_argument
    add("--train", required=True, metavar="SET")
    add("--held-out", required=True, metavar="SET", help="of training images, never the test set's")
    add("--core-seconds", type=float, default=60.0, metavar="S", help="default: %(default)s")
    add("--warmup", type=float, default=WARMUP, metavar="SHARE", help="default: %(default)s")
    add("keys", nargs="*", metavar="KEY=VALUE")

    def make() -> int:
        options = parser.parse_intermixed_args(argv)
        sets = (options.train, options.held_out)
        row = run_trial(*sets, options.core_seconds, options.keys, options.warmup)
        print(json.dumps(row))
        return 0

    return run_command(make)


if __name__ == "__main__":
    sys.exit(main())
