"""Two ranks against one on the CPU, with the same global batch: the loader apart from the compute.

    python -m benchmarks.scale.ranks [--rounds 5] [--steps 20] [--out benchmarks/results/ranks.json]

Each rank has one thread for compute and one worker. Three things are timed in turn, in every round
by both: batches from the loader alone, training steps on a batch that is there already (with DDP's
exchange), and both together. Figures are medians over rounds: images a second of all ranks, and CPU
milliseconds an image, of all threads of all ranks. On a machine that does other things too only the
latter mean something: two ranks can be twice as fast as one where theirs are no more than one's.
"""

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import spawn

from benchmarks.augment.photographs import pack_photographs
from shards.atomic import write_whole
from shards.cursor import Cursor
from shards.errors import run_command
from trainer.build import Parts, build_parts, open_loader
from trainer.config import TrainConfig
from trainer.distributed import all_reduce_, process_group
from trainer.recipes.recipe import resolve
from trainer.record.conditions import conditions
from trainer.step import optimizer_step
from trainer.train import _wrap

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "ranks.json"
BATCH = 64
WORLDS = (1, 2)
KINDS = ("loader", "compute", "both")


def main(argv: list[str] | None = None) -> int:
    """Measure and write the figures; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale.ranks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="FILE")
    options = parser.parse_args(argv)
    return run_command(lambda: _benchmark(options))


def _benchmark(options: argparse.Namespace) -> int:
    rounds: dict[int, list[dict[str, list[float]]]] = {world: [] for world in WORLDS}
    before = conditions()
    with tempfile.TemporaryDirectory() as temporary:
        shards, out = Path(temporary) / "shards", Path(temporary) / "figures.json"
        pack_photographs(2 * BATCH, shards, 0)
        for number in range(options.rounds):
            for world in WORLDS:
                with socket.socket() as free:
                    free.bind(("127.0.0.1", 0))
                    port = free.getsockname()[1]
                arguments = (world, shards, out, options.steps, port)
                spawn(measure_rank, arguments, world)
                rounds[world].append(json.loads(out.read_text()))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    medians = {
        name: {
            world: {
                kind: round(statistics.median(found[kind][i] for found in rounds[world]), 2)
                for kind in KINDS
            }
            for world in WORLDS
        }
        for i, name in enumerate(("images_per_s", "cpu_ms_per_image"))
    }
    report = {
        "conditions": before | {"load_average_1min_after": round(os.getloadavg()[0], 2)},
        "settings": {"batch": BATCH, "rounds": options.rounds, "steps": options.steps}
        | {"config": "simsiam, resnet18, width 1/4, 2 views of 64 px, 500x375 JPEGs, fused"},
        **medians,
    }
    write_whole(options.out, json.dumps(report, indent=2) + "\n")
    print(json.dumps(medians))
    return 0


def tiny(shards: Path) -> TrainConfig:
    """A config whose compute is about as long as its loading."""
    return resolve(
        {
            "data": {"train": str(shards), "workers": 1, "backend": "fused", "decoder": "pillow"},
            "policy": {"name": "simsiam", "views": "2", "sizes": "64"},
            "backbone": {"arch": "resnet18", "width": 0.25},
            "method": {"name": "simsiam", "out_dim": 128, "predictor_dim": 32},
            "loop": {"epochs": 1000, "batch_size": BATCH},
            "run": {"device": "cpu"},
        }
    )


def measure_rank(rank: int, world: int, shards: Path, out: Path, steps: int, port: int) -> None:
    """Images a second of all ranks, by kind; the first rank writes them."""
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with process_group("cpu", 600):
        parts = build_parts(tiny(shards))
        found = _measure(parts, steps)
    if rank == 0:
        write_whole(out, json.dumps(found))


def _measure(parts: Parts, steps: int) -> dict[str, list[float]]:
    """Per kind: images a second, CPU milliseconds an image."""
    model, found = _wrap(parts), {}
    with open_loader(parts, Cursor(0)) as loader:
        batches: dict[str, Any] = {"both": loader, "compute": repeat(next(loader))}
        for kind in ("both", "compute", "loader"):
            start = cpu = 0.0
            for step in range(-3, steps):  # three to warm up, and to use up what was made ahead
                if step == 0:
                    all_reduce_(torch.zeros(1))
                    start, cpu = time.perf_counter(), time.process_time()
                if kind == "loader":
                    next(loader)
                else:
                    progress = parts.timeline.progress(max(step, 0))
                    optimizer_step(model, parts, batches[kind], progress)
            cpu_s = all_reduce_(torch.tensor([time.process_time() - cpu])).item()
            images = steps * BATCH
            found[kind] = [images / (time.perf_counter() - start), 1e3 * cpu_s / images]
    return found


if __name__ == "__main__":
    sys.exit(main())
