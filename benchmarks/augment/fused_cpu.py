"""The speed of the fused backend on the CPU, beside our other backends and the peers' transforms.

    make bench-peers
    python -m benchmarks.augment.fused_cpu --peers-python .venv-peers/bin/python
    python -m benchmarks.augment.fused_cpu --peers-python ... --photographs SHARDS

Photographs, cut to 500x375 JPEGs; views of SwAV 2+6 (224 + 96 px) and BYOL 2 (224 px), and 2
views of 32 px of small cuts. lightly's BYOL crops with a bilinear filter where the published one,
and our policy, is bicubic: `byol bilinear` is ours with lightly's filter. First every backend is
held against the slow reference. Then all cases take turns in rounds, so that other load touches
them alike; what counts is the ratio inside a round: the median over rounds, with the lowest and
highest. N threads are N workers of one thread each, of the peers N processes. Peers run in their
own environment; without one they are left out, and it says so. `--photographs` takes shards of
photographs as a camera makes them, and times SwAV and BYOL on them beside the cuts, whose
photographs are smoother and a third as heavy, and on JPEGs of 64 px.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.augment.cpu_workloads import (
    BATCH_SIZES,
    CAMERA,
    SMALL,
    TILES,
    Timed,
    camera_workloads,
    workloads,
)
from benchmarks.augment.photographs import SIZE_PX, pack_photographs, pack_tiles
from shards.atomic import write_whole
from shards.errors import run_command
from shards.index import ShardIndex
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from shards.terminal.output_file import check_output
from tools.profiling.augment_cases import KINDS, Settings, Workload
from tools.profiling.measure import Case, Result, measure, times_as_fast
from tools.profiling.peers import PeerCase, Peers, peer_cases
from tools.profiling.profile_report import describe_data, rows_of, table_of
from trainer.record.conditions import conditions

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "fused_cpu.json"
CAMERA_OUT = DEFAULT_OUT.with_name("camera_cpu.json")
POLICIES = ("swav", "byol", "tiny", "small")  # workloads' first words, in a report's order
SMALL_PX = (64, 64)
NUM_BATCHES = 4
# Ours, theirs, at least so many times as fast.
TARGETS = (
    ("swav: from bytes, fused", "swav: from bytes, lightly", 6.0),
    ("swav: end to end, fused", "swav: end to end, lightly", 6.0),
    ("swav: from bytes, fused", "swav: from bytes, dali", 4.0),
    ("byol: from bytes, fused", "byol: from bytes, lightly", 5.0),
    ("byol bilinear: from bytes, fused", "byol: from bytes, lightly", 5.0),
    ("byol: end to end, fused", "byol: end to end, lightly", 5.0),
    ("swav camera: from bytes, fused", "swav camera: from bytes, lightly", 6.0),
    ("swav camera: end to end, fused", "swav camera: end to end, lightly", 6.0),
    ("byol camera: from bytes, fused", "byol camera: from bytes, lightly", 5.0),
    ("byol camera: end to end, fused", "byol camera: end to end, lightly", 5.0),
    ("tiny: from pixels, fused", "tiny: from pixels, torchvision v2", 20.0),
)


def main(argv: list[str] | None = None) -> int:
    """Check, time, print the ratios, write the JSON; returns the exit code."""
    return run_command(lambda: _run(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.augment.fused_cpu", __doc__)
    add = parser.add_argument
    add("--peers-python", metavar="PATH", help="a Python with lightly and torchvision")
    add("--photographs", metavar="DIR", help="shards of a camera's photographs to time besides")
    add("--threads", default="1,2", metavar="N,M", help="default: %(default)s")
    add("--rounds", type=int, default=7, metavar="N", help="default: %(default)s")
    add("--seconds", type=float, default=3.5, metavar="S", help="a case (default: %(default)s)")
    add("--backends", default="kornia,dali", metavar="A,B", help="besides fused; %(default)s")
    # Without peers the figures are not those that docs/performance.md is made of.
    names = f"{DEFAULT_OUT.name} or {CAMERA_OUT.name}"
    add("--out", metavar="FILE", help=f"default: {names} in results/, with peers only")
    return parser


def _run(options: argparse.Namespace) -> int:
    default = CAMERA_OUT if options.photographs else DEFAULT_OUT
    out = Path(options.out or (default if options.peers_python else os.devnull))
    check_output("--out", out)
    torch.set_num_threads(1)
    by_threads: dict[str, Any] = {}
    report: dict[str, Any] = {"conditions": conditions(), "peers": None}
    suite = camera_workloads() if options.photographs else workloads()
    used = {timed.images: timed for timed in suite.values()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        indexes = {name: _images(name, folder / name, options) for name in used}
        report["data"] = {name: describe_data(index) for name, index in indexes.items()}
        report["settings"] = {"rounds": options.rounds, "seconds_per_row": options.seconds}
        report["settings"] |= {"batch_size": {name: BATCH_SIZES[name] for name in used}}
        for threads in options.threads.split(","):
            here = folder / f"threads-{threads}"
            here.mkdir()
            found, details = _measure(suite, indexes, int(threads), options, here)
            by_threads[threads] = {"targets": _targets(found), "workloads": _by_workload(found)}
            report |= details
    report["threads"] = by_threads
    _print(report)
    write_whole(out, json.dumps(report, indent=2) + "\n")
    return 0


def _images(name: str, out: Path, options: argparse.Namespace) -> ShardIndex:
    """The shards of a workload's images: made here, but for a camera's photographs."""
    if name == CAMERA:
        return ShardIndex.open(options.photographs)
    number = BATCH_SIZES[name] * NUM_BATCHES
    if name == TILES:
        pack_tiles(number, out)
    else:
        pack_photographs(number, out, size_px=SMALL_PX if name == SMALL else SIZE_PX)
    return ShardIndex.open(out)


def _measure(
    suite: dict[str, Timed],
    indexes: dict[str, ShardIndex],
    num_threads: int,
    options: argparse.Namespace,
    folder: Path,
) -> tuple[list[Result], dict[str, Any]]:
    """All cases with so many threads; and what the gate and the peers said."""
    others = [name for name in options.backends.split(",") if name]
    made = {
        name: _workload(name, timed, indexes[timed.images], num_threads, ["fused", *others])
        for name, timed in suite.items()
    }
    errors = {
        f"{name}: {backend}": workload.check(backend)
        for name, workload in made.items()
        for backend in ("fused", *others)
    }
    cases = [case for name, w in made.items() for case in _own_cases(w, suite[name], others)]
    rounds = {"seconds": options.seconds, "num_rounds": options.rounds}
    if options.peers_python is None:
        return measure(cases, **rounds), {"errors_against_reference": errors}
    asked = [
        case
        for name, workload in made.items()
        for case in _peer_cases(workload, suite[name], num_threads, folder)
    ]
    with Peers(options.peers_python, asked, folder) as peers:
        results = measure(sorted([*cases, *peers.cases], key=_place), **rounds)
        return results, {"errors_against_reference": errors, "peers": peers.describe()}


def _workload(
    name: str, timed: Timed, index: ShardIndex, num_threads: int, backends: Sequence[str]
) -> Workload:
    settings = Settings(
        tuple(backends),
        torch.device("cpu"),
        BATCH_SIZES[timed.images],
        num_threads,
        num_workers=num_threads,
    )
    return Workload(index, timed.policy, settings, f"{name}: ")


def _own_cases(workload: Workload, timed: Timed, others: Sequence[str]) -> list[Case]:
    """`fused` from everywhere, the others where a target or a table wants them."""
    cases = workload.cases(timed.fused, ["fused"])
    return cases + (workload.cases(timed.others, others) if others and timed.others else [])


def _peer_cases(workload: Workload, timed: Timed, threads: int, folder: Path) -> list[PeerCase]:
    if not timed.peers:
        return []
    stock = workload.stock
    images = stock.write(folder / workload.prefix.removesuffix(": "))
    return peer_cases(
        workload.policy,
        images,
        stock.batch_size,
        threads,
        timed.peers,
        timed.libraries,
        workload.prefix,
    )


def _place(case: Case) -> tuple[int, int]:
    """The order of cases: compared ones stand side by side, those of one policy too."""
    workload, kind = case.name.split(", ")[0].split(": ")
    return POLICIES.index(workload.split()[0]), KINDS.index(kind)


def _targets(results: Sequence[Result]) -> list[dict[str, Any]]:
    by_name = {result.name: result for result in results}
    return [
        {"ours": ours, "theirs": theirs, "target": target}
        | times_as_fast(by_name[ours], by_name[theirs])
        for ours, theirs, target in TARGETS
        if ours in by_name and theirs in by_name
    ]


def _by_workload(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name, row in rows_of(results).items():
        workload, case = name.split(": ")
        rows.setdefault(workload, {})[case] = row
    return rows


def _print(report: dict[str, Any]) -> None:
    console = table_console(150)
    for num_threads, found in report["threads"].items():
        for workload, rows in found["workloads"].items():
            header, lines = table_of(rows)
            table = Table(*header, title=f"{workload}, {num_threads} thread(s)")
            for line in lines:
                table.add_row(*line)
            console.print(table)
        for row in found["targets"]:
            console.print(
                f"{row['ours']} is {row['median']:.1f} times as fast ({row['min']:.1f} to "
                f"{row['max']:.1f}) as {row['theirs'].split(', ')[1]}; wanted: {row['target']:g}"
            )
    if report["peers"] is None:
        console.print("peers left out: pass --peers-python")


if __name__ == "__main__":
    sys.exit(main())
