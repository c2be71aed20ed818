"""Rows that are made once each: what lacks is trained, and written when it is there.

Hours of runs may be stopped and started: a later call goes on with those that lack.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from benchmarks.methods.one_run import read_rows
from shards.atomic import write_whole
from shards.errors import DataError, UsageError
from shards.terminal.output_file import check_output

Row = dict[str, Any]


def make_lacking(
    wanted: Iterable[Row],  # what tells each row from the others
    out: Path,
    measure: Callable[[Row], Mapping[str, Any]],  # the rest of a row; DataError when its run fails
    *,
    name: Callable[[Row], str],  # for people
    tell: Callable[[Row], str] = lambda row: f"kNN {row['knn']:.1%}, {gain(row):+.1f}",
    place: Callable[[Row], Any] | None = None,  # in the file; None: as they were made
    report: Callable[[list[Row]], Row] = lambda rows: {"rows": rows},  # what the file has
    jobs: int = 1,  # at once
) -> tuple[list[Row], list[str]]:
    """All rows of the file, with those of `wanted` that it had not; and the names of failed ones.

    A row is there when the file has one with the same values, whatever else stands in it. A failed
    one leaves the file as it was, and the others are made. Each has one core, unless
    OMP_NUM_THREADS says otherwise.
    """
    check_output("--out", out)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows: list[Row] = read_rows(out, "rows") or []
    failed: list[str] = []
    lock = Lock()

    def make(what: Row) -> None:
        print(f"{name(what)}: begins", file=sys.stderr, flush=True)
        try:
            row = {**what, **measure(what)}
        except DataError as error:
            failed.append(name(what))
            print(f"{name(what)}: {error}", file=sys.stderr, flush=True)
            return
        with lock:
            rows.append(row)
            if place is not None:
                rows.sort(key=place)
            write_whole(out, json.dumps(report(rows), indent=2) + "\n")
        print(f"{name(what)}: {tell(row)}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(make, lacking(wanted, rows)))  # Ctrl-C leaves those that have not begun
    return rows, failed


def lacking(wanted: Iterable[Row], rows: list[Row]) -> list[Row]:
    """Those that no row has the values of."""
    return [what for what in wanted if not any(what.items() <= row.items() for row in rows)]


def gain(row: Row) -> float:
    """Points of kNN over the untrained encoder's."""
    return 100 * (row["knn"] - row["random_knn"])


def rows_to_print(out: Path) -> list[Row]:
    """The rows that --print shows; UsageError where there are none."""
    rows = read_rows(out, "rows")
    if not rows:
        raise UsageError(f"{out} has no rows; run without --print first")
    return rows


def read_set(text: str, flag: str = "--set") -> tuple[str, tuple[str, str]]:
    """A set's name, and the folders that it is trained and scored on; UsageError for other text."""
    name, _, folders = text.partition("=")
    train, _, test = folders.partition(",")
    if not (name and train and test):
        raise UsageError(f"{flag} reads NAME=TRAIN,EVAL, got {text!r}")
    return name, (train, test)


def read_seeds(text: str) -> list[int]:
    """The numbers of --seeds; UsageError for other text."""
    if not all(seed.isdecimal() for seed in text.split(",")):
        raise UsageError(f"--seeds are whole numbers, got {text}; write --seeds 0,1,2")
    return [int(seed) for seed in text.split(",")]
