"""Rows that are made once each: what lacks is trained, and written when it is there.

Hours of runs may be stopped and started: a later call goes on with those that lack.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from benchmarks.methods.one_run import read_rows
from shards.atomic import write_whole
from shards.errors import DataError, UsageError

Row = dict[str, Any]


def make_lacking(
    wanted: Iterable[Row],  # what tells each row from the others
    out: Path,
    measure: Callable[[Row], Mapping[str, Any]],  # the rest of a row; DataError when its run fails
    *,
    name: Callable[[Row], str],  # for people
    place: Callable[[Row], Any] | None = None,  # in the file; None: as they were made
    jobs: int = 1,  # at once
) -> tuple[list[Row], list[str]]:
    """All rows of the file, with those of `wanted` that it had not; and the names of failed ones.

    A row is there when the file has one with the same values, whatever else stands in it. A failed
    one leaves the file as it was, and the others are made.
    """
    rows: list[Row] = read_rows(out, "rows") or []
    failed: list[str] = []
    lock = Lock()

    def make(what: Row) -> None:
        print(f"{name(what)}: training", file=sys.stderr, flush=True)
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
            write_whole(out, json.dumps({"rows": rows}, indent=2) + "\n")
        gain = 100 * (row["knn"] - row["random_knn"])
        print(f"{name(what)}: kNN {row['knn']:.1%}, {gain:+.1f}", file=sys.stderr, flush=True)

    lacking = [what for what in wanted if not any(what.items() <= row.items() for row in rows)]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(make, lacking))
    return rows, failed


def read_seeds(text: str) -> list[int]:
    """The numbers of --seeds; UsageError for other text."""
    if not all(seed.isdecimal() for seed in text.split(",")):
        raise UsageError(f"--seeds are whole numbers, got {text}; write --seeds 0,1,2")
    return [int(seed) for seed in text.split(",")]


def check_out(out: Path) -> None:
    """UsageError where the file of --out could not be written."""
    if not out.parent.is_dir():
        raise UsageError(f"--out lies in a folder that exists, got {out}; make it first")
