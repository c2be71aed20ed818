"""Damaged and hostile files through every reader: only our own errors may come out.

    python -m benchmarks.soak.fuzz [--count 100000] [--seed 0] [--out benchmarks/results/fuzz.json]
    python -m benchmarks.soak.fuzz --case tar/1234          one case here, with its traceback
    python -m benchmarks.soak.fuzz --again                  those that were wrong, after a repair

Tars, indexes, manifests, images, recipes, policies, plans and checkpoints are damaged by chance and
by design, and read to the end in processes with limits on address space and time. A case is wrong
when a foreign exception comes out, the process dies, it takes over ten seconds of CPU time or
touches what it must not. The exit code is 1 when any is wrong.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.soak.fuzz_kinds import KINDS
from benchmarks.soak.fuzz_pool import MAX_BYTES, MAX_SECONDS, Result, run_case, run_cases
from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.processes.parallel import usable_cores
from shards.terminal.console import new_bar, new_console, table_console
from trainer.record.conditions import conditions

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "fuzz.json"


def main(argv: list[str] | None = None) -> int:
    """Run all cases, print and write the counts; returns the exit code."""
    options = _parser().parse_args(argv)
    run = _one if options.case else _again if options.again else _all
    return run_command(lambda: run(options))


def counts_of(total: int) -> dict[str, int]:
    """Cases of each kind: at least one."""
    shares = sum(kind.share for kind in KINDS.values())
    return {name: max(1, total * kind.share // shares) for name, kind in KINDS.items()}


def summary(results: Iterable[Result]) -> dict[str, Any]:
    """Counts by kind, outcome and damage, the slowest and the largest case, every wrong one."""
    found = sorted(results, key=lambda r: (r.kind, r.number))
    kinds = {}
    for name in KINDS:
        ours = [result for result in found if result.kind == name]
        slowest = max(ours, key=lambda r: r.seconds)
        largest = max(ours, key=lambda r: r.grown_bytes)
        kinds[name] = {
            "cases": len(ours),
            "outcomes": dict(sorted(Counter(result.outcome for result in ours).items())),
            "damages": dict(sorted(Counter(result.damage for result in ours).items())),
            "wrong": sum(bool(result.problem) for result in ours),
            "slowest": _named(slowest, seconds=round(slowest.seconds, 2)),
            "most_memory": _named(largest, mib=round(largest.grown_bytes / 2**20, 1)),
        }
    wrong = [asdict(result) for result in found if result.problem]
    return {"cases": len(found), "kinds": kinds, "wrong": wrong}


def _named(result: Result, **figure: float) -> dict[str, Any]:
    return {"case": f"{result.kind}/{result.number}", "damage": result.damage, **figure}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--count", type=int, default=100_000, metavar="N", help="cases (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add("--case", metavar="KIND/N", help="run this one only, without limits")
    add("--again", action="store_true", help="repeat the wrong cases of --out and correct it")
    add("--out", type=Path, default=DEFAULT_OUT, metavar="FILE", help="default: %(default)s")
    return parser


def _one(options: argparse.Namespace) -> int:
    kind, _, number = options.case.rpartition("/")
    if kind not in KINDS or not number.isdecimal():
        raise UsageError(f"--case is one of {', '.join(KINDS)} and a number, got {options.case!r}")
    result = run_case(kind, int(number), options.seed, reraise=True)
    print(f"{options.case}: {result.damage}: {result.outcome} in {result.seconds:.2f} s")
    return 0


def _all(options: argparse.Namespace) -> int:
    if options.count < 1 or not options.out.parent.is_dir():
        raise UsageError("--count is at least 1 and --out lies in a folder that exists")
    counts, start, results = counts_of(options.count), time.perf_counter(), []
    with new_bar(new_console(sys.stderr)) as bar:
        task = bar.add_task("fuzzing", total=sum(counts.values()))
        for result in run_cases(counts, options.seed, options.workers or usable_cores()):
            results.append(result)
            bar.advance(task)
            if result.problem:
                bar.console.print(f"{result.kind}/{result.number}: {result.problem}")
    report = {
        "conditions": conditions(),
        "settings": {
            "seed": options.seed,
            "max_seconds": MAX_SECONDS,
            "max_address_space_mib": MAX_BYTES >> 20,
        },
        "seconds": round(time.perf_counter() - start),
        **summary(results),
    }
    return _finish(report, options.out)


def _again(options: argparse.Namespace) -> int:
    """Correct a report: what has been repaired is no longer wrong, the counts say what came out."""
    report = json.loads(options.out.read_text(encoding="utf-8"))
    wrong = []
    for before in report["wrong"]:
        now = run_case(before["kind"], before["number"], report["settings"]["seed"])
        kind = report["kinds"][now.kind]
        outcomes = Counter(kind["outcomes"])
        outcomes.subtract([before["outcome"]])
        outcomes.update([now.outcome])
        kind["outcomes"] = {name: count for name, count in sorted(outcomes.items()) if count}
        kind["wrong"] -= not now.problem
        wrong += [asdict(now)] if now.problem else []
    return _finish({**report, "wrong": wrong, "repeated": len(report["wrong"])}, options.out)


def _finish(report: dict[str, Any], out: Path) -> int:
    write_whole(out, json.dumps(report, indent=1) + "\n")
    table_console().print(_table(report))
    if report["wrong"]:
        raise DataError(
            f"readers end with our own errors, got {len(report['wrong'])} other ends; they stand "
            f"under `wrong` in {out}, repeat one with --case"
        )
    return 0


def _table(report: dict[str, Any]) -> Table:
    table = Table(title=f"{report['cases']:,} damaged files in {report['seconds']:,} s")
    for column in ("kind", "cases", "wrong", "what came out", "slowest, s", "most memory, MiB"):
        table.add_column(column, justify="left" if column in ("kind", "what came out") else "right")
    for name, kind in report["kinds"].items():
        outcomes = ", ".join(f"{n:,} {outcome}" for outcome, n in kind["outcomes"].items())
        figures = f"{kind['slowest']['seconds']:.2f}", f"{kind['most_memory']['mib']:.0f}"
        table.add_row(name, f"{kind['cases']:,}", str(kind["wrong"]), outcomes, *figures)
    return table


if __name__ == "__main__":
    sys.exit(main())
