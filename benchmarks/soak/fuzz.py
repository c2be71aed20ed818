"""Damaged and hostile files through every reader: only our own errors may come out.

    python -m benchmarks.soak.fuzz [--count 100000] [--seed 0] [--out benchmarks/results/fuzz.json]
    python -m benchmarks.soak.fuzz --case tar/3        part 3 of the tars here, with its traceback

tests/hostile/ makes them by chance and by design: tars, indexes, manifests, images, recipes,
policies, plans and checkpoints. They are read to the end in parts, each a process with limits on
address space and time. A part is wrong when a foreign exception comes out, the process dies, a
file takes over ten seconds of CPU time or its reader touches what it must not; the file that did it
(as small as Hypothesis could make it) is left beside --out. The exit code is 1 when any is wrong.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.table import Table

from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.processes.parallel import usable_cores
from shards.terminal.commandline import CommandParser
from shards.terminal.console import new_bar, new_console, table_console
from shards.terminal.output_file import check_output
from trainer.record.conditions import conditions

ROOT = Path(__file__).parents[2]
DEFAULT_OUT = ROOT / "benchmarks" / "results" / "fuzz.json"
# Of 100 files; tests/hostile/file_kinds.py has each kind.
SHARES = {"tar": 22, "index": 13, "manifest": 12, "image": 21, "image, DALI": 3, "recipe": 9}
SHARES |= {"policy": 7, "plan": 7, "checkpoint": 6}
PART = 1_000  # files a process
MAX_SECONDS = 10.0  # of CPU time a file, which other load on the machine hardly moves
MAX_BYTES = 2 << 30  # of address space, beyond what a process has when it is ready
SILENCE_SECONDS = 3_600.0  # by the clock, of a part


def main(argv: list[str] | None = None) -> int:
    """Read all files, print and write the counts; returns the exit code."""
    parser = CommandParser("python -m benchmarks.soak.fuzz", __doc__)
    add = parser.add_argument
    add("--count", type=int, default=100_000, metavar="N", help="files (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add("--case", metavar="KIND/N", help="this part only, its traceback and all")
    add("--out", type=Path, default=DEFAULT_OUT, metavar="FILE", help="default: %(default)s")
    return run_command(lambda: _run(parser.parse_args(argv)))


def _run(options: argparse.Namespace) -> int:
    return _one(options) if options.case else _all(options)


def parts_of(total: int) -> list[tuple[str, int, int]]:
    """Kind, number and files of each part; at least one file a kind."""
    counts = {kind: max(1, total * share // 100) for kind, share in SHARES.items()}
    return [
        (kind, number, min(PART, count - number * PART))
        for kind, count in counts.items()
        for number in range(-(-count // PART))
    ]


def run_part(
    part: tuple[str, int, int], seed: int, wrong_to: Path, *, is_shown: bool = False
) -> dict[str, Any]:
    """The result of a part; `problem` says what must not be, and where the file lies."""
    kind, number, count = part
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    shm = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=shm) as folder:
        keep = Path(folder) / "file"
        numbers = (count, (seed << 32) + number, keep, MAX_BYTES, MAX_SECONDS)
        command = [sys.executable, "-m", "hostile.watched", kind, *map(str, numbers)]
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=None if is_shown else subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                timeout=SILENCE_SECONDS,
                errors="replace",
                text=True,
            )
        except subprocess.TimeoutExpired:
            problem = f"silent for {SILENCE_SECONDS:g} s"
        else:
            if not done.returncode:
                return {"kind": kind, "number": number, **json.loads(done.stdout)}
            problem = _end_of(done)
        if keep.is_file():
            left = wrong_to / f"fuzz-{kind.replace(', ', '-').lower()}-{number}.bin"
            shutil.copyfile(keep, left)
            problem += f"; the file is {left}"
        return {"kind": kind, "number": number, "problem": problem}


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts by kind, outcome and damage, the slowest, the memory, every wrong part."""
    kinds = {}
    for kind in SHARES:
        ours = [part for part in found if part["kind"] == kind]
        right = [part for part in ours if "problem" not in part]
        outcomes: Counter[str] = Counter()
        damages: Counter[str] = Counter()
        for part in right:
            outcomes.update(part["outcomes"])
            damages.update(part["damages"])
        kinds[kind] = {
            "cases": outcomes.total(),
            "outcomes": dict(sorted(outcomes.items())),
            "damages": dict(sorted(damages.items())),
            "wrong": len(ours) - len(right),
            "slowest_s": round(max((part["slowest_s"] for part in right), default=0), 2),
            "most_memory_mib": max((part["grown_mib"] for part in right), default=0),
        }
    wrong = [part for part in found if "problem" in part]
    return {"cases": sum(k["cases"] for k in kinds.values()), "kinds": kinds, "wrong": wrong}


def _one(options: argparse.Namespace) -> int:
    kind, _, number = options.case.rpartition("/")
    parts = {(k, n): (k, n, count) for k, n, count in parts_of(options.count)}
    if not number.isdecimal() or (kind, int(number)) not in parts:
        raise UsageError(
            f"--case is one of {', '.join(SHARES)} and the number of a part of --count, got "
            f"{options.case!r}"
        )
    part = run_part(parts[kind, int(number)], options.seed, options.out.parent, is_shown=True)
    if "problem" in part:
        raise DataError(f"readers end with our own errors, got {part['problem']}")
    print(json.dumps(part, indent=1))
    return 0


def _all(options: argparse.Namespace) -> int:
    if options.count < 1:
        raise UsageError(f"--count is at least 1, got {options.count}; try 1000")
    check_output("--out", options.out)
    parts, start, found = parts_of(options.count), time.perf_counter(), []
    with new_bar(new_console(sys.stderr)) as bar:
        task = bar.add_task("fuzzing", total=len(parts))
        with ThreadPoolExecutor(options.workers or usable_cores()) as pool:
            runs = pool.map(lambda part: run_part(part, options.seed, options.out.parent), parts)
            for part in runs:
                found.append(part)
                bar.advance(task)
                if "problem" in part:
                    bar.console.print(f"{part['kind']}/{part['number']}: {part['problem']}")
    settings = {"seed": options.seed, "files_a_process": PART, "max_seconds": MAX_SECONDS}
    report = {
        "conditions": conditions(),
        "settings": {**settings, "max_address_space_mib": MAX_BYTES >> 20},
        "seconds": round(time.perf_counter() - start),
        **summary(found),
    }
    write_whole(options.out, json.dumps(report, indent=1) + "\n")
    table_console().print(_table(report))
    if report["wrong"]:
        raise DataError(
            f"readers end with our own errors, got {len(report['wrong'])} parts with other ends; "
            f"they stand under `wrong` in {options.out}, repeat one with --case"
        )
    return 0


def _end_of(done: "subprocess.CompletedProcess[str]") -> str:
    """The exception that came out, or the signal that the process died of."""
    if done.returncode < 0:
        return f"died of signal {-done.returncode}"
    lines = [line for line in (done.stderr or "").splitlines() if line and line[0].isalpha()]
    errors = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception"))]
    return next(reversed(errors or lines), f"exited with {done.returncode}")


def _table(report: dict[str, Any]) -> Table:
    table = Table(title=f"{report['cases']:,} damaged files in {report['seconds']:,} s")
    for column in ("kind", "files", "wrong", "what came out", "slowest, s", "most memory, MiB"):
        table.add_column(column, justify="left" if column in ("kind", "what came out") else "right")
    for name, kind in report["kinds"].items():
        outcomes = ", ".join(f"{n:,} {outcome}" for outcome, n in kind["outcomes"].items())
        figures = f"{kind['slowest_s']:.2f}", f"{kind['most_memory_mib']:.0f}"
        table.add_row(name, f"{kind['cases']:,}", str(kind["wrong"]), outcomes, *figures)
    return table


if __name__ == "__main__":
    sys.exit(main())
