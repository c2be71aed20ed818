"""Does a training step wait for its views? Steps on real data beside steps on one batch that stays.

    python -m benchmarks.gpu.resident --data SHARDS [--config swav] [--device cuda] [key=value ...]

The same method, optimizer and device, in turns: steps that take their batches from the loader, and
steps that take one batch, already on the device, again and again. Their ratio is what is left of
the speed once real data must be read, decoded and augmented (1: nothing is lost).
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from augengine.views import Views
from shards.atomic import write_whole
from shards.cursor import Cursor
from shards.errors import run_command
from shards.terminal.commandline import CommandParser, count
from shards.terminal.console import new_console
from tools.profiling.measure import Case, Run, measure, times_as_fast
from trainer.build import Parts, build_parts, open_loader
from trainer.recipes.recipe import read_recipe, resolve
from trainer.record.conditions import conditions
from trainer.settings.strict import merge, parse_override
from trainer.step import optimizer_step

REAL, RESIDENT = "real data", "one batch, resident"


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write the ratio; returns the exit code."""
    return run_command(lambda: _benchmark(_parser().parse_args(argv)))


def compare(parts: Parts, num_steps: int, seconds: float, num_rounds: int) -> dict[str, Any]:
    """Images a second of both kinds of step, and the ratio inside each round."""
    with open_loader(parts, Cursor(0)) as loader:
        batches: dict[str, Iterator[Views]] = {
            REAL: iter(loader),
            RESIDENT: itertools.repeat(next(loader)),
        }
        images = num_steps * parts.config.loop.batch_size
        cases = [
            Case(name, images, 0, lambda of=of: Run(lambda: _steps(parts, of, num_steps)))
            for name, of in batches.items()
        ]
        real, resident = measure(cases, seconds=seconds, num_rounds=num_rounds)
    return {
        "images_per_s": {REAL: round(real.median, 1), RESIDENT: round(resident.median, 1)},
        "real_over_resident": times_as_fast(real, resident),
    }


def _steps(parts: Parts, batches: Iterator[Views], num_steps: int) -> None:
    # Of the middle of the run: nothing is frozen or warming up.
    progress = parts.timeline.progress(parts.timeline.total_steps // 2)
    for _ in range(num_steps):
        optimizer_step(parts.method, parts, batches, progress)
    if parts.device.type == "cuda":
        torch.cuda.synchronize(parts.device)


def _benchmark(options: argparse.Namespace) -> int:
    values = merge(read_recipe(options.config), parse_override(f"run.device={options.device}"))
    for text in (f"data.train='{options.data}'", "eval.data=null", *options.overrides):
        values = merge(values, parse_override(text))
    parts = build_parts(resolve(values))
    parts.method.train()
    found = compare(parts, options.steps, options.seconds, options.rounds)
    loop = parts.config.loop
    report = {
        "conditions": conditions() | {"device": str(parts.device)},
        "settings": {
            "recipe": options.config,
            "overrides": options.overrides,
            "batch_size": loop.batch_size,
            "steps": options.steps,
            "rounds": options.rounds,
        },
        **found,
    }
    ratio = found["real_over_resident"]
    new_console(soft_wrap=True).print(
        f"{options.config}, batch {loop.batch_size}, {parts.device}: "
        + ", ".join(f"{name} {rate:,.0f} img/s" for name, rate in found["images_per_s"].items())
        + f"; ratio {ratio['median']:.3f} ({ratio['min']:.3f} to {ratio['max']:.3f})"
    )
    if options.out is not None:
        write_whole(options.out, json.dumps(report, indent=2) + "\n")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.gpu.resident", __doc__)
    add = parser.add_argument
    add("--data", required=True, metavar="DIR", help="a folder of shards")
    add("--config", default="swav", metavar="RECIPE", help="default: %(default)s")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="default: %(default)s")
    add("--steps", type=count, default=10, metavar="N", help="of a turn (default: %(default)s)")
    add("--rounds", type=count, default=5, metavar="N", help="default: %(default)s")
    add("--seconds", type=float, default=60, help="of each kind of step (default: %(default)s)")
    add("--out", type=Path, metavar="FILE", help="where to write the figures, as JSON")
    add("overrides", nargs="*", metavar="key=value", help="changes to the recipe")
    return parser


if __name__ == "__main__":
    sys.exit(main())
