"""Does the loader's memory stay flat? Resident memory after every 100 of 2,000 batches.

    python -m benchmarks.augment.memory [--batches 2000] [--out benchmarks/results/memory.json]

Each loader runs in a process of its own, on JPEGs of 48 to 96 pixels cut from photographs, one of
which is damaged, so that it is found bad and replaced in every epoch. A line is laid through what
was resident after the warm-up; the exit code is 1 when it climbs by more than the bound until the
last batch. On CUDA the memory in use on the GPU, by anyone, is held to the same bound.
"""

import argparse
import io
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.table import Table

from augengine.backends.create_backend import create_backend
from augengine.caches.sample_cache import create_cache
from augengine.decoders.create_decoder import create_decoder
from augengine.loader.view_loader import ViewLoader
from augengine.policies import load_policy
from benchmarks.augment.photographs import photograph_jpegs
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.index import ShardIndex
from shards.packing.pack import pack
from shards.sources.detect import open_source
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from shards.terminal.output_file import check_output
from trainer.record.conditions import conditions

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "memory.json"
LOADERS = (("fused", "none"), ("fused", "host"), ("dali", "none"), ("kornia", "none"))
ON_GPU = (("fused", "none"), ("fused", "gpu"), ("dali", "none"), ("kornia", "none"))
MAX_GROWTH_MIB = 4.0
WARM_UP_SHARE = 0.25  # of the readings: allocators, DALI's pools and a cache have grown by then
SIDES_PX = (48, 96)
NUM_PHOTOGRAPHS = 16  # from which the images are cut
DAMAGED = 7  # sample whose pixels are overwritten, behind a header that stays whole


@dataclass(frozen=True, slots=True)
class Settings:
    """The loop over any loader."""

    num_batches: int = 2_000
    every: int = 100  # batches between two readings
    batch_size: int = 8
    num_images: int = 128
    views: tuple[int, ...] = (2, 2)  # of SwAV's policy
    sizes_px: tuple[int, ...] = (32, 16)
    workers: int = 2
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Growth:
    """One kind of memory over a run."""

    mib: tuple[float, ...]  # a reading after every `every` batches
    kib_per_batch: float  # slope after the warm-up
    growth_mib: float  # what that adds up to from the warm-up to the last batch

    @property
    def is_flat(self) -> bool:
        """Whether it stays within the bound."""
        return self.growth_mib <= MAX_GROWTH_MIB


def main(argv: list[str] | None = None) -> int:
    """Run every loader, print and write what was resident; returns the exit code."""
    return run_command(lambda: _run(_parser().parse_args(argv)))


def resident_mib() -> float:
    """Memory of this process that is in RAM."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        raise UsageError(
            "resident memory is read from /proc/self/statm, which is not there; run this on Linux"
        ) from None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth_of(mib: Sequence[float], every: int) -> Growth:
    """The straight line through what was read after the warm-up, by least squares."""
    steady = np.array(mib[int(WARM_UP_SHARE * len(mib)) :])
    batches = every * np.arange(len(steady))
    slope = float(np.polyfit(batches, steady, 1)[0])
    return Growth(tuple(mib), round(1024 * slope, 3), round(slope * float(batches[-1]), 2))


def watch(
    loader: Iterator[object],
    settings: Settings,
    read: Callable[[], tuple[float, ...]],  # MiB of each kind of memory
) -> list[tuple[float, ...]]:
    """Take batches and drop them, as a step would; readings in order."""
    readings = []
    for number in range(1, settings.num_batches + 1):
        next(loader)
        if number % settings.every == 0:
            readings.append(read())
    return readings


def run_loader(shards: Path, backend: str, cache: str, settings: Settings) -> dict[str, Any]:
    """One loader over all its batches: each kind of memory, and how often the damaged one came."""
    torch.set_num_threads(1)
    index, device = ShardIndex.open(shards), torch.device(settings.device)
    policy = load_policy("swav").with_views(settings.views, settings.sizes_px)
    kinds = ("host",) if device.type == "cpu" else ("host", "gpu")
    start = time.perf_counter()
    with ViewLoader(
        index,
        policy,
        batch_size=settings.batch_size,
        seed=0,
        backend=create_backend(backend, device),
        decoder=create_decoder("auto", device, settings.workers),
        num_workers=settings.workers,
        cache=create_cache(cache, index, device),
        on_warning=lambda bad: None,
    ) as loader:
        readings = watch(loader, settings, lambda: _read(device))
        num_bad = loader.meter.snapshot().bad_samples
    grown = {
        kind: growth_of([reading[i] for reading in readings], settings.every)
        for i, kind in enumerate(kinds)
    }
    return {
        "is_flat": all(growth.is_flat for growth in grown.values()),
        "bad_samples": num_bad,
        "seconds": round(time.perf_counter() - start, 1),
        **{kind: asdict(growth) for kind, growth in grown.items()},
    }


def in_a_process(run: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """A fresh one: what another loader left behind is not this one's."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_hush) as pool:
        return pool.submit(run, *arguments).result()


def pack_small(num_images: int, out: Path) -> None:
    """JPEGs of SIDES_PX cut from photographs, one of them damaged after packing."""
    rng = np.random.default_rng(0)
    photographs = [Image.open(io.BytesIO(data)) for data in photograph_jpegs(NUM_PHOTOGRAPHS)]
    with tempfile.TemporaryDirectory() as folder:
        for i in range(num_images):
            width, height = rng.integers(*SIDES_PX, 2, endpoint=True).tolist()
            photograph = photographs[i % len(photographs)]
            left, top = (
                int(rng.integers(photograph.width - 2 * width)),
                int(rng.integers(photograph.height - 2 * height)),
            )
            box = (left, top, left + 2 * width, top + 2 * height)
            photograph.resize((width, height), box=box).save(Path(folder) / f"{i:05d}.jpg")
        pack(open_source(folder), out)
    index = ShardIndex.open(out)
    entry = index.entry(min(DAMAGED, num_images - 1))
    with open(out / index.shards[entry.shard].name, "r+b") as file:
        file.seek(entry.offset + entry.size * 3 // 4)
        file.write(bytes(entry.size // 4))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.augment.memory", __doc__)
    add = parser.add_argument
    add("--batches", type=int, default=2_000, metavar="N", help="default: %(default)s")
    add("--device", default="cpu", choices=("cpu", "cuda"), help="default: %(default)s")
    add("--out", type=Path, default=DEFAULT_OUT, metavar="FILE", help="default: %(default)s")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.batches < 20:
        raise UsageError(f"--batches is at least 20, got {options.batches}; a line needs readings")
    check_output("--out", options.out)
    settings = Settings(options.batches, options.batches // 20, device=options.device)
    loaders, results = LOADERS if options.device == "cpu" else ON_GPU, {}
    with tempfile.TemporaryDirectory() as temporary:
        shards = Path(temporary) / "shards-of-small-photographs"
        pack_small(settings.num_images, shards)
        for backend, cache in loaders:
            name = backend if cache == "none" else f"{backend}, cache={cache}"
            results[name] = in_a_process(run_loader, shards, backend, cache, settings)
            print(f"{name}: {results[name]['seconds']} s", file=sys.stderr, flush=True)
    report = {
        "conditions": conditions(),
        "settings": {
            **asdict(settings),
            "warm_up_share": WARM_UP_SHARE,
            "max_growth_mib": MAX_GROWTH_MIB,
        },
        "results": results,
    }
    write_whole(options.out, json.dumps(report, indent=2) + "\n")
    table_console().print(_table(results))
    return int(not all(result["is_flat"] for result in results.values()))


def _hush() -> None:
    """Let no library write to stderr: DALI tells of every damaged image it meets."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _read(device: torch.device) -> tuple[float, ...]:
    if device.type == "cpu":
        return (resident_mib(),)
    free, total = torch.cuda.mem_get_info(device)
    return resident_mib(), (total - free) / 2**20


def _table(results: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=f"memory after the warm-up; at most {MAX_GROWTH_MIB:g} MiB may be added")
    for column in ("loader", "memory", "MiB at the end", "KiB a batch", "MiB added", "flat"):
        table.add_column(column, justify="left" if column in ("loader", "memory") else "right")
    for name, result in results.items():
        for kind in ("host", "gpu"):
            if kind in result:
                figures = result[kind]
                shown = (f"{figures[key]:.2f}" for key in ("kib_per_batch", "growth_mib"))
                is_flat = "yes" if figures["growth_mib"] <= MAX_GROWTH_MIB else "NO"
                table.add_row(name, kind, f"{figures['mib'][-1]:.0f}", *shown, is_flat)
    return table


if __name__ == "__main__":
    sys.exit(main())
