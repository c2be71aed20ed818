"""The report of a profile: figures and conditions, as JSON, on the terminal, in Markdown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from augengine.loader.meter import STAGES
from shards.index import ShardIndex
from shards.terminal.counted import counted
from tools.policy_options import describe_policy
from tools.profiling.augment_cases import Settings
from tools.profiling.measure import Result, times_as_fast
from tools.profiling.profile_run import Profile
from trainer.record.conditions import conditions

MAX_DESCRIBED = 100_000  # samples whose sizes are summed up
OURS = "fused"


def report_of(index: ShardIndex, settings: Settings, found: Profile) -> dict[str, Any]:
    """A profile, ready for JSON."""
    return {
        "conditions": conditions(),
        "data": describe_data(index),
        "policy": describe_policy(found.workload.policy),
        "settings": {
            "device": str(settings.device),
            "dtype": str(settings.dtype).removeprefix("torch."),
            "batch_size": settings.batch_size,
            "threads": settings.num_threads,
            "workers": settings.num_workers,
            "seconds_per_row": settings.seconds,
            "seed": settings.seed,
        },
        "errors_against_reference": found.errors,
        "peers": found.peers,
        "results": rows_of(found.results),
    }


def describe_data(index: ShardIndex) -> dict[str, object]:
    """The number of images, and their size."""
    sizes = index.sizes(np.arange(min(len(index), MAX_DESCRIBED)))
    return {
        "name": index.directory.name,
        "images": len(index),
        "height_px": _spread(sizes[:, 0]),
        "width_px": _spread(sizes[:, 1]),
        "mean_bytes": round(float(index.records["size"][:MAX_DESCRIBED].mean())),
    }


def rows_of(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Each case's figures; beside those of another backend or peer, how much faster `fused` was."""
    by_name = {result.name: result for result in results}
    rows = {}
    for result in results:
        kind, _, who = result.name.rpartition(", ")
        ours = by_name.get(f"{kind}, {OURS}")
        row: dict[str, Any] = result.as_json()
        if ours is not None and who != OURS:
            row[f"{OURS}_is_times_as_fast"] = times_as_fast(ours, result)
        rows[result.name] = row
    return rows


def print_report(report: dict[str, Any], console: Console) -> None:
    """The report as tables."""
    done, data, settings = report["conditions"], report["data"], report["settings"]
    about = (
        f"  {data['name']}: {counted(data['images'], 'image')}, about "
        f"{data['height_px'][1]}x{data['width_px'][1]} px, {data['mean_bytes'] / 1024:.0f} KiB"
    )
    console.print(Text.assemble((report["policy"], "bold"), about))
    console.print(
        f"{done['cpu']}, {counted(done['cores'], 'core')}, load {done['load_average_1min']}; "
        f"{settings['device']}, batch {settings['batch_size']}, "
        f"{counted(settings['threads'], 'thread')}, "
        f"{counted(settings['workers'], 'worker')}",
        style="dim",
    )
    for name, error in report["errors_against_reference"].items():
        console.print(
            f"{name} is {error['mean_levels']:.2g} of 255 levels from the reference on average, "
            f"{error['max_levels']:.2g} at most",
            style="dim",
        )
    for name, reason in (report["peers"] or {"left_out": {}})["left_out"].items():
        console.print(f"{name} is left out: {reason}", style="dim")
    header, rows = table_of(report["results"])
    table = Table(*header, box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(
        "img/s: median over rounds; cpu ms: of all threads, an image; fused x: so many times as "
        "fast was fused, median of the ratios inside a round; stages: thread-milliseconds an "
        "image, waiting for a core or a turn included; wait: the consumer's",
        style="dim",
    )


def table_of(results: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text; stages that no case has are left out."""
    stages = [
        s for s in STAGES if any(row["stages_ms_per_image"].get(s) for row in results.values())
    ]
    header = ["", "img/s", "min-max", "crops/s", "cpu ms/img", f"{OURS} x", *stages]
    return header, [[name, *_cells(row, stages)] for name, row in results.items()]


def markdown_table(results: dict[str, dict[str, Any]]) -> str:
    """The table for a document."""
    header, rows = table_of(results)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: dict[str, Any], stages: Sequence[str]) -> list[str]:
    ratio, cpu_ms = row.get(f"{OURS}_is_times_as_fast"), row["cpu_ms_per_image"]
    return [
        f"{row['images_per_s']:,.1f}",
        f"{row['images_per_s_min']:,.0f}-{row['images_per_s_max']:,.0f}",
        f"{row['crops_per_s']:,.0f}" if row["crops_per_s"] else "",
        "" if cpu_ms is None else f"{cpu_ms:.2f}",
        "" if ratio is None else f"{ratio['median']:.1f}",
        *(f"{ms:.2f}" if (ms := row["stages_ms_per_image"].get(s)) else "" for s in stages),
    ]


def _spread(values: np.ndarray) -> list[int]:
    """Lowest, median, highest."""
    return [int(values.min()), int(np.median(values)), int(values.max())]
