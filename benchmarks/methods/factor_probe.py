"""What features keep beside the class: linear probes of colour and place, with and without AugSelf.

    python -m benchmarks.methods.factor_probe

AugSelf claims that its features tell more of what augmentation changes (2111.09613). The demo set
says of each image what it was drawn with: here a probe asks for the hue of the ground, in six
parts of the circle, and for the quarter of the picture in which the shape's centre lies; and for
the class. Each row is a run of the demo recipe, and its probes; those that lack are made. The
untrained encoder takes one epoch at a rate of nothing, for its batch statistics.
docs/evaluation.md shows the table (python docs/make.py evaluation).
"""

import argparse
import colorsys
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.methods.lacking_rows import make_lacking, read_seeds
from benchmarks.methods.one_run import python, train_once
from shards.errors import run_command
from shards.sources.demo_set import NUM_IMAGES, DemoSource
from shards.sources.render import Factors
from shards.terminal.commandline import CommandParser
from trainer.embed.feature_table import FeatureTable, read_features
from trainer.eval.probe import linear_probe

RESULTS = Path(__file__).parents[1] / "results" / "factor_probe.json"
BASE = ("--config", "simsiam_demo")
ENCODERS: dict[str, tuple[str, ...]] = {
    "SimSiam": BASE,
    "SimSiam + AugSelf": (*BASE, "--terms", "augself"),  # weight 1, as published for STL-10
    "SimSiam + 0.2 AugSelf": (*BASE, "method.terms=[{name: augself, weight: 0.2}]"),
    "untrained": (*BASE, "--epochs", "1", "optim.base_lr=1e-12"),
}
NUM_HUES = 6


def hue(factors: Factors) -> int:
    """The sixth of the colour circle that the ground's hue lies in; the first begins at red."""
    return int(NUM_HUES * colorsys.rgb_to_hsv(*factors.ground)[0]) % NUM_HUES


def place(factors: Factors) -> int:
    """The quarter that the shape's centre lies in: top left, top right, bottom left, right."""
    down, right = factors.centre_px
    return 2 * (down > 0) + (right > 0)


TASKS: dict[str, Callable[[Factors], int]] = {"hue": hue, "place": place}


def main(argv: list[str] | None = None) -> int:
    """Train and probe what lacks, write, print; returns 1 when a run failed."""
    parser = CommandParser("python -m benchmarks.methods.factor_probe", __doc__)
    add = parser.add_argument
    add("--seeds", default="0,1,2", metavar="N,N", help="of the runs (default: %(default)s)")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    return run_command(lambda: _benchmark(parser.parse_args(argv)))


def _benchmark(options: argparse.Namespace) -> int:
    seeds = read_seeds(options.seeds)
    _, failed = make_lacking(
        [{"encoder": name, "seed": seed} for seed in seeds for name in ENCODERS],
        options.out,
        lambda what: _measure(ENCODERS[what["encoder"]], what["seed"]),
        name=lambda what: "{encoder}, seed {seed}".format(**what),
        tell=lambda row: ", ".join(f"{task} {row[task]:.1%}" for task in ("class", *TASKS)),
        place=lambda row: (row["seed"], list(ENCODERS).index(row["encoder"])),
    )
    return 1 if failed else 0


def _measure(words: tuple[str, ...], seed: int) -> Mapping[str, Any]:
    """One run, its features of the whole demo set, and its probes."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        row = train_once([*words, "--seed", str(seed)], run)
        tables = [_features(run, split) for split in NUM_IMAGES]
    return row | probes(*tables)


def _features(run: Path, split: str) -> FeatureTable:
    out = run / f"{split}.npy"
    python("trainer.embed", str(run), "--data", f"demo:{split}", "--out", str(out))
    return read_features(out)


def probes(train: FeatureTable, test: FeatureTable) -> dict[str, float]:
    """Top-1 of a linear probe of each task, and of the class."""
    features = [torch.from_numpy(table.features.astype(np.float32)) for table in (train, test)]
    labels = [_labels(table, split) for table, split in zip((train, test), NUM_IMAGES, strict=True)]
    return {
        task: linear_probe(features[0], labels[0][task], features[1], labels[1][task]).accuracy
        for task in labels[0]
    }


def _labels(table: FeatureTable, split: str) -> dict[str, torch.Tensor]:
    """[N] int64 by task; an image's key is its number in the demo set."""
    source = DemoSource(split)
    factors = [source.factors(int(key)) for key in table.keys]
    labels = {"class": torch.from_numpy(table.labels.astype(np.int64))}
    return labels | {task: torch.tensor(list(map(of, factors))) for task, of in TASKS.items()}


if __name__ == "__main__":
    sys.exit(main())
