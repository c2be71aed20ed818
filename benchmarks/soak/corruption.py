"""A set that breaks under a run: are exactly the bad samples named, and does all of it end?

    python -m benchmarks.soak.corruption [--images 2000] [--out benchmarks/results/corruption.json]

A tenth of the images becomes rubbish, a tar loses its tail, members are swapped, a tar is deleted
behind a running loader. Each time, in a process of its own: every sample is read once; an epoch is
loaded with a budget that allows it, and must name the bad samples and no others, and deliver a
full epoch; with the default budget it must stop and name some; a training run does both. The exit
code is 1 when a count or a name is wrong, or when a step takes over its stated time.
"""

import argparse
import json
import logging
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as OutOfTime
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from augengine.loader.view_loader import ViewLoader
from augengine.policies import load_policy
from augengine.views import BadSample
from benchmarks.soak.damage import CORRUPT, DAMAGES, write_set
from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.index import ShardIndex
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from shards.terminal.output_file import check_output
from trainer.recipes.recipe import resolve
from trainer.record.conditions import conditions
from trainer.record.log import read_metrics
from trainer.train import train

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "corruption.json"
MAX_SECONDS = 300  # a damage, all of its steps
BATCH, CPU = 50, torch.device("cpu")
# A sample and its eight substitutes are bad together once in 10^9 samples at 10 %.
BUDGET = 0.5
ONCE, EPOCH, DEFAULT = "every sample once", "an epoch", "an epoch, default budget"


def main(argv: list[str] | None = None) -> int:
    """Run all damages, print and write; returns the exit code."""
    parser = CommandParser("python -m benchmarks.soak.corruption", __doc__)
    add = parser.add_argument
    add("--images", type=int, default=2_000, metavar="N", help="default: %(default)s")
    add("--out", type=Path, default=DEFAULT_OUT, metavar="FILE", help="default: %(default)s")
    return run_command(lambda: _run(parser.parse_args(argv)))


def try_damage(
    name: str, num_images: int, decoder: str, backend: str, *, trains: bool = False
) -> dict[str, Any]:
    """Bad samples, the ones that were named, and the end of each step."""
    with tempfile.TemporaryDirectory() as temporary:
        start, root = time.perf_counter(), Path(temporary)
        index = write_set(root / "shards", num_images)
        parts: dict[str, Any] = {
            "decoder": create_decoder(decoder, CPU, 1),
            "backend": create_backend(backend, CPU, num_threads=1),
        }
        bad = DAMAGES[name](index)
        if trains:
            steps = {
                step: train_epoch(index, root / f"run-{budget}", budget, decoder, backend)
                for step, budget in ((EPOCH, BUDGET), (DEFAULT, 0.001))
            }
        else:
            steps = {
                ONCE: read_all(index, **parts),
                EPOCH: load_epoch(index, bad_budget=BUDGET, **parts),
                DEFAULT: load_epoch(index, **parts),
                "opened again": open_again(index),
            }
        return {
            "bad": len(bad),
            "right": _is_right(steps, bad, num_images),
            "seconds": round(time.perf_counter() - start, 1),
            "steps": {step: _shown(found, root) for step, found in steps.items()},
        }


def read_all(index: ShardIndex, **parts: Any) -> dict[str, Any]:
    """Every sample through the evaluation's path: bad ones are left out and named."""
    named: list[BadSample] = []
    batches = iter_listed_views(
        index,
        CenterSquare(16),
        BATCH,
        bad_budget=1.0,
        on_warning=named.append,
        verify=True,
        **parts,
    )
    delivered = sum(views.batch_size for views in batches)
    return {"named": sorted(bad.id for bad in named), "delivered": delivered}


def load_epoch(index: ShardIndex, **settings: Any) -> dict[str, Any]:
    """An epoch of views: bad ones are replaced and named, or stop it."""
    named: list[BadSample] = []
    policy = load_policy("simsiam").with_views((2,), (16,))
    fixed = {"batch_size": BATCH, "seed": 0, "on_warning": named.append, "verify": True}
    delivered, stopped = 0, ""
    with ViewLoader(index, policy, **fixed, **settings) as loader:
        try:
            while delivered < len(index):
                delivered += next(loader).batch_size
        except DataError as error:
            stopped = str(error)
    return {"named": sorted({bad.id for bad in named}), "delivered": delivered, "stopped": stopped}


def open_again(index: ShardIndex) -> dict[str, Any]:
    """The next run's word: it names the tars that changed, or the index is still right."""
    try:
        return {"samples": len(ShardIndex.open(index.folder))}
    except DataError as error:
        return {"stopped": str(error)}


def train_epoch(
    index: ShardIndex, out: Path, budget: float, decoder: str, backend: str
) -> dict[str, Any]:
    """A training run; the names are what it logs, the count what it writes down."""
    config = resolve(
        {
            "data": {
                **{"train": str(index.directory), "decoder": decoder, "backend": backend},
                **{"workers": 1, "verify": True, "bad_budget": budget},
            },
            "policy": {"name": "simsiam", "views": "2", "sizes": "16"},
            "backbone": {"arch": "resnet10", "width": 0.125, "stem": "small"},
            "method": {"name": "simsiam", "out_dim": 16, "predictor_dim": 8},
            "optim": {"name": "sgd", "base_lr": 0.05},
            "loop": {"epochs": 1, "batch_size": BATCH},
            "run": {"log_every": 1, "device": "cpu"},
        }
    )
    named, stopped, steps = _Names(), "", 0
    logger = logging.getLogger("augengine.loader.bad_samples")
    logger.addHandler(named)
    try:
        steps = train(config, out).step
    except DataError as error:
        stopped = str(error)
    finally:
        logger.removeHandler(named)
    records = [record for record in read_metrics(out) if "bad_samples" in record]
    return {
        "named": sorted(named.ids),
        "delivered": steps * BATCH,
        "stopped": stopped,
        "counted": records[-1]["bad_samples"] if records else 0,
    }


class _Names(logging.Handler):
    """Collects the samples that a run warns of."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        assert isinstance(record.args, tuple)
        bad = record.args[0]
        assert isinstance(bad, BadSample)
        self.ids.add(bad.id)


def _is_right(steps: dict[str, Any], bad: list[int], num_images: int) -> bool:
    """The bad ones and no others, and as many good ones as there must be."""
    epoch, default = steps[EPOCH], steps[DEFAULT]
    right = [
        epoch["named"] == bad,
        epoch["delivered"] == num_images,
        not epoch["stopped"],
        set(default["named"]) <= set(bad),
        "may be bad" in default["stopped"] or "only bad ones" in default["stopped"],
        any(f"(sample {id})" in default["stopped"] for id in bad),
    ]
    if ONCE in steps:
        once = steps[ONCE]
        right += [once["named"] == bad, once["delivered"] == num_images - len(bad)]
    return all(right)


def _shown(found: dict[str, Any], root: Path) -> dict[str, Any]:
    """Counts in place of long lists; where it lay says nothing."""
    shown = {key: len(x) if isinstance(x, list) else x for key, x in found.items()}
    return {k: x.replace(f"{root}/", "") if isinstance(x, str) else x for k, x in shown.items()}


def _run(options: argparse.Namespace) -> int:
    if options.images < 200 or options.images % BATCH:
        raise UsageError(
            f"--images is at least 200 and a multiple of {BATCH}, got {options.images}; try "
            f"{40 * BATCH}"
        )
    check_output("--out", options.out)
    found = {name: _in_a_process(name, options.images) for name in DAMAGES}
    found["training, 10 % corrupt"] = _in_a_process(CORRUPT, options.images, trains=True)
    settings = {"images": options.images, "batch": BATCH, "max_seconds": MAX_SECONDS}
    report = {"conditions": conditions(), "settings": settings, "results": found}
    write_whole(options.out, json.dumps(report, indent=1) + "\n")
    table_console().print(_table(found))
    wrong = [name for name, result in found.items() if not result["right"]]
    if wrong:
        raise DataError(f"bad samples are named and no others, got otherwise: {', '.join(wrong)}")
    return 0


def _in_a_process(name: str, num_images: int, *, trains: bool = False) -> dict[str, Any]:
    """A fresh one with a time limit: what hangs is ended, and said."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    future = pool.submit(try_damage, name, num_images, "auto", "auto", trains=trains)
    try:
        return future.result(timeout=MAX_SECONDS)
    except OutOfTime:
        for process in list((pool._processes or {}).values()):
            process.kill()
        return {"bad": 0, "right": False, "seconds": MAX_SECONDS, "steps": {}}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _table(found: dict[str, Any]) -> Table:
    table = Table(title="exactly the bad samples are named, everything ends")
    for column in ("damage", "bad", "named", "delivered", "default budget", "seconds", "right"):
        table.add_column(column)
    for name, result in found.items():
        epoch, default = (result["steps"].get(step, {}) for step in (EPOCH, DEFAULT))
        cells = (result["bad"], epoch.get("named"), epoch.get("delivered"))
        stop = f"stops after {default.get('delivered')}" if default.get("stopped") else "goes on"
        right = "yes" if result["right"] else "NO"
        table.add_row(name, *map(str, cells), stop, str(result["seconds"]), right)
    return table


if __name__ == "__main__":
    sys.exit(main())
