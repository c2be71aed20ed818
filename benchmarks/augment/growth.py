"""The cost of an image's views as crops, image size, crop size, batch and threads grow.

    python -m benchmarks.augment.growth [--seconds 1] [--out FILE] [--png FILE]

The fused backend on the CPU, one and two threads (workers of one thread each), from pixels in
memory and from JPEG bytes in memory; JPEGs cut from photographs. One number changes at a time; the
others stay as in SwAV 2+6 at 224+96 px, 500x375 px, batch 32 (for the crop's side: 2 views of one
size). The points of one curve take turns in rounds; median, lowest and highest stand in the JSON,
and growth_picture.py draws them.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from augengine.policies import load_policy
from augengine.policy import Policy
from benchmarks.augment.growth_picture import draw_growth
from benchmarks.augment.photographs import SIZE_PX, pack_photographs
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.index import ShardIndex
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from shards.terminal.output_file import check_output
from tools.profiling.augment_cases import FROM_BYTES, FROM_PIXELS, Settings, Workload
from tools.profiling.measure import Case, measure
from trainer.record.conditions import conditions

ROOT = Path(__file__).parents[2]
DEFAULT_OUT = ROOT / "benchmarks" / "results" / "growth.json"
DEFAULT_PNG = ROOT / "docs" / "growth.png"
FIGURES = ("images_per_s", "images_per_s_min", "images_per_s_max", "ms_per_image")
FIGURES += ("cpu_ms_per_image",)
BATCH_SIZE, THREADS, KINDS = 32, (1, 2), (FROM_PIXELS, FROM_BYTES)


@dataclass(frozen=True, slots=True)
class Point:
    """One place on a curve: what is made of what."""

    x: float
    views: tuple[int, ...] = (2, 6)
    sizes_px: tuple[int, ...] = (224, 96)
    image_px: tuple[int, int] = SIZE_PX  # height, width
    batch_size: int = BATCH_SIZE

    @property
    def policy(self) -> Policy:
        """SwAV's, with these views."""
        return load_policy("swav").with_views(self.views, self.sizes_px)


SWEEPS: dict[str, tuple[Point, ...]] = {
    "local crops": tuple(Point(n, views=(2, n)) for n in (0, 1, 2, 4, 6, 8, 10)),
    "image, megapixels": tuple(
        Point(3 * k * 4 * k / 1e6, image_px=(3 * k, 4 * k)) for k in (63, 125, 250, 500)
    ),
    "crop side, px (2 views)": tuple(
        Point(side, views=(2,), sizes_px=(side,)) for side in (32, 64, 96, 128, 160, 224, 320, 448)
    ),
    "batch size": tuple(Point(size, batch_size=size) for size in (1, 4, 16, 64, 256)),
}


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write the JSON and the picture; returns the exit code."""
    return run_command(lambda: _run(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.augment.growth", __doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=1, metavar="S", help="a point (default: %(default)s)")
    add("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    add("--sweeps", metavar="A,B", help=f"some of: {', '.join(_short(s) for s in SWEEPS)}")
    add("--out", default=DEFAULT_OUT, metavar="FILE", help="default: %(default)s")
    add("--png", default=DEFAULT_PNG, metavar="FILE", help="default: %(default)s")
    return parser


def _run(options: argparse.Namespace) -> int:
    out, png = Path(options.out), Path(options.png)
    check_output("--out", out)
    check_output("--png", png, (".png",))
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "conditions": conditions(),
        "settings": {"seconds_per_point": options.seconds, "rounds": options.rounds},
        "sweeps": {},
    }
    for name in _chosen(options.sweeps):
        with tempfile.TemporaryDirectory() as folder:
            report["sweeps"][name] = _sweep(SWEEPS[name], options, Path(folder))
        _print(name, report["sweeps"][name])
    write_whole(out, json.dumps(report, indent=2) + "\n")
    draw_growth(report, png)
    return 0


def _chosen(names: str | None) -> list[str]:
    wanted = [_short(name) for name in SWEEPS] if names is None else names.split(",")
    known = {_short(name): name for name in SWEEPS}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UsageError(f"--sweeps are some of {', '.join(known)}, got {unknown[0]!r}")
    return [known[name] for name in wanted]


def _short(name: str) -> str:
    return name.split(",")[0].replace(" ", "-")


def _sweep(
    points: tuple[Point, ...], options: argparse.Namespace, folder: Path
) -> list[dict[str, Any]]:
    """All points of a curve with all numbers of threads, in turns."""
    rows: dict[str, dict[str, Any]] = {}
    cases: list[Case] = []
    for name, case, row in _cases(points, _packer(folder)):
        rows[name] = row
        cases.append(case)
    results = measure(cases, seconds=options.seconds, num_rounds=options.rounds)
    return [
        rows[result.name] | {name: result.as_json()[name] for name in FIGURES} for result in results
    ]


def _cases(
    points: tuple[Point, ...], index_of: Callable[[Point], ShardIndex]
) -> Iterator[tuple[str, Case, dict[str, Any]]]:
    for number, point in enumerate(points):
        for threads in THREADS:
            settings = Settings(
                ("fused",),
                torch.device("cpu"),
                point.batch_size,
                num_workers=threads,
                num_batches=1,
            )
            prefix = f"{number}, {threads}: "
            workload = Workload(index_of(point), point.policy, settings, prefix)
            workload.check("fused")
            for kind, case in zip(KINDS, workload.cases(KINDS), strict=True):
                yield case.name, case, {"x": point.x, "threads": threads, "kind": kind}


def _packer(folder: Path) -> Callable[[Point], ShardIndex]:
    """Packs one set of JPEGs for each image and batch size, once."""

    def index_of(point: Point) -> ShardIndex:
        out = folder / f"{point.image_px[0]}-{point.batch_size}"
        if not out.is_dir():
            pack_photographs(point.batch_size, out, size_px=point.image_px)
        return ShardIndex.open(out)

    return index_of


def _print(name: str, rows: list[dict[str, Any]]) -> None:
    table = Table(name, "threads", "from", "img/s", "min-max", "ms/img")
    for row in rows:
        table.add_row(
            f"{row['x']:g}",
            str(row["threads"]),
            row["kind"],
            f"{row['images_per_s']:,.0f}",
            f"{row['images_per_s_min']:,.0f}-{row['images_per_s_max']:,.0f}",
            f"{row['ms_per_image']:.3f}",
        )
    table_console(100).print(table)


if __name__ == "__main__":
    sys.exit(main())
