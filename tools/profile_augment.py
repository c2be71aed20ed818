"""Times decoding, augmentation and the loader: which stage is the bottleneck, on this machine?

Every backend is first held against the slow reference on a few images, and a wrong one is not
timed. Then decode alone, each backend's augmentation alone (images ready in memory) and the loader
end to end (read + decode + draw + augment on worker threads) take turns, so that other load on the
machine touches all alike.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from augengine.backends.table import BACKENDS, backends_on
from augengine.meter import STAGES
from augengine.policy import Policy
from shards.errors import UsageError, run_command
from shards.index import ShardIndex
from tools.augment_cases import Settings, num_steps, profile
from tools.measure import Result, conditions, num_cores
from tools.policy_options import add_policy_options, describe_policy, index_of, policy_of

MAX_DESCRIBED = 100_000  # samples whose sizes are summed up


def main(argv: list[str] | None = None) -> int:
    """Profile, print the table, write the JSON; returns the exit code."""
    options = _parser().parse_args(argv)
    return run_command(lambda: _profile_command(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="profile_augment.py",
        description=__doc__,
        epilog="example: python tools/profile_augment.py --data shards/train --views 2+6 "
        "--backends fused,dali --json profile.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_policy_options(parser)
    add_measure_options(parser)
    parser.add_argument(
        "--json", metavar="FILE", help="also write the figures and their conditions here"
    )
    return parser


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    """Add what `settings_of` reads, but --seed: what is timed, where, and for how long."""
    add = parser.add_argument
    add("--backends", metavar="A,B", help="default: all that run on the device")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="default: %(default)s")
    add("--batch-size", type=int, default=32, metavar="N", help="default: %(default)s")
    add("--seconds", type=float, default=10, metavar="S", help="per row (default: %(default)s)")
    add("--threads", type=int, metavar="N", help="decoder's and backends' (default: the cores)")
    add("--workers", type=int, default=2, metavar="N", help="loader's (default: %(default)s)")


def _profile_command(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    if options.json is not None and not Path(options.json).parent.is_dir():
        raise UsageError(f"--json lies in a folder that exists, got {options.json}; make it first")
    policy, index = policy_of(options), index_of(options)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    to_stderr = Console(stderr=True)
    with Progress(*columns, console=to_stderr, disable=not to_stderr.is_terminal) as progress:
        task = progress.add_task("load", total=num_steps(settings))

        def on_step(name: str) -> None:
            progress.update(task, advance=1, description=f"{name:24}")

        results, errors = profile(index, policy, settings, on_step)
    report = report_of(index, policy, settings, results, errors)
    # A table cut to 80 columns is of no use in a file.
    print_report(report, Console(width=None if sys.stdout.isatty() else 150))
    if options.json is not None:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def report_of(
    index: ShardIndex,
    policy: Policy,
    settings: Settings,
    results: list[Result],
    errors: dict[str, dict[str, float]],
) -> dict[str, object]:
    """Figures with everything they depend on, ready for JSON."""
    sizes = index.sizes(np.arange(min(len(index), MAX_DESCRIBED)))
    return {
        "conditions": conditions(),
        "data": {
            "name": index.directory.name,
            "images": len(index),
            "height_px": _spread(sizes[:, 0]),
            "width_px": _spread(sizes[:, 1]),
            "mean_bytes": round(float(index.records["size"][:MAX_DESCRIBED].mean())),
        },
        "policy": describe_policy(policy),
        "settings": {
            "device": str(settings.device),
            "batch_size": settings.batch_size,
            "threads": settings.num_threads,
            "workers": settings.num_workers,
            "seconds_per_row": settings.seconds,
            "seed": settings.seed,
        },
        "errors_against_reference": errors,
        "results": {result.name: result.as_json() for result in results},
    }


def print_report(report: dict[str, Any], console: Console) -> None:
    """The report of `report_of` as tables."""
    done, data, settings = report["conditions"], report["data"], report["settings"]
    console.print(
        f"[bold]{report['policy']}[/]  {data['name']}: {data['images']:,} images, about "
        f"{data['height_px'][1]}x{data['width_px'][1]} px, {data['mean_bytes'] / 1024:.0f} KiB"
    )
    console.print(
        f"{done['cpu']}, {done['cores']} cores, load {done['load_average_1min']}; "
        f"{settings['device']}, batch {settings['batch_size']}, {settings['threads']} threads, "
        f"{settings['workers']} workers",
        style="dim",
    )
    for name, error in report["errors_against_reference"].items():
        console.print(
            f"{name} is {error['mean_levels']:.2g} of 255 levels from the reference on average, "
            f"{error['max_levels']:.2g} at most",
            style="dim",
        )
    header = ("", "img/s", "min-max", "crops/s", "ms/img", "cpu ms", *STAGES)
    table = Table(*header, box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, figures in report["results"].items():
        stages = figures["stages_ms_per_image"]
        table.add_row(
            name,
            f"{figures['images_per_s']:.1f}",
            f"{figures['images_per_s_min']:.1f}-{figures['images_per_s_max']:.1f}",
            f"{figures['crops_per_s']:.0f}" if figures["crops_per_s"] else "",
            f"{figures['ms_per_image']:.2f}",
            f"{figures['cpu_ms_per_image']:.2f}",
            *(f"{stages[stage]:.2f}" if stage in stages else "" for stage in STAGES),
        )
    console.print(table)
    console.print(
        "img/s: median over rounds; cpu ms: of all threads, an image; stages: thread-milliseconds "
        "an image, waiting for a core or a turn included; wait: the consumer's",
        style="dim",
    )


def settings_of(options: argparse.Namespace) -> Settings:
    """The options of `add_measure_options`, checked; UsageError says what is wrong."""
    device = _device(options.device)
    there = backends_on(device)
    backends = tuple(dict.fromkeys(options.backends.split(","))) if options.backends else there
    unknown = [name for name in backends if name not in BACKENDS]
    if unknown:
        raise UsageError(f"backends are {', '.join(BACKENDS)}, got {unknown[0]!r}")
    for name in ("batch_size", "workers", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} is at least 1, got {value}")
    if not options.seconds > 0:
        raise UsageError(f"--seconds is positive, got {options.seconds}")
    return Settings(
        backends,
        device,
        options.batch_size,
        options.threads or num_cores(),
        options.workers,
        options.seconds,
        options.seed,
    )


def _device(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise UsageError("--device cuda needs an NVIDIA GPU, got none; use --device cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and has_cuda) else "cpu")


def _spread(values: np.ndarray) -> list[int]:
    """Lowest, median, highest."""
    return [int(values.min()), int(np.median(values)), int(values.max())]


if __name__ == "__main__":
    sys.exit(main())
