"""A billion samples: the time to open the index, the memory, and the cost of a resume.

    python -m benchmarks.scale.billion [--samples 1000000000] [--shards 100000] [--out FILE]

Makes the folder of such a set without its images: an index.npy with a hole for its records (a few
are written, and looked up later), a manifest with a sha256 a shard, empty tars. A fresh process
opens it, as a rank does, and looks up batches all over it; the median of several, imports not
counted. The exit code is 1 when the start takes more than 2 s of CPU time (which other load on the
machine hardly moves; the time by the clock stands beside it) or 500 MB, or the state over 1 KB.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.format import (
    INDEX_DTYPE,
    INDEX_NAME,
    MANIFEST_NAME,
    TAR_BLOCK_BYTES,
    Manifest,
    ShardInfo,
)
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from trainer.record.conditions import conditions

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "scale.json"
MAX_START_S, MAX_START_MB, MAX_STATE_BYTES = 2.0, 500.0, 1024
REPEATS = 5
BATCH, NUM_BATCHES, WINDOW_SHARDS = 256, 100, 64
# Run in a fresh process: prints JSON.
_START = """
import json, re, sys, time
import numpy as np
from shards.cursor import Cursor
from shards.index import ShardIndex
from shards.order import SampleOrder

def resident():
    status = open("/proc/self/status").read()
    return {kind: int(re.search(kind + r":\\s+(\\d+)", status)[1]) / 1e3 for kind in
            ("VmHWM", "VmRSS", "RssAnon", "RssFile")}

folder, batch, num_batches, window = sys.argv[1], *map(int, sys.argv[2:])
before = resident()
start, start_cpu = time.perf_counter(), time.process_time()
index = ShardIndex.open(folder)
opened = time.perf_counter()
sizes = [shard.num_samples for shard in index.shards]
order = SampleOrder(len(index), 0, shard_sizes=sizes, window_shards=window)
order(Cursor().positions(batch))
ordered, ordered_cpu = time.perf_counter(), time.process_time()
after = resident()
everywhere = SampleOrder(len(index), 0)
for number in range(num_batches):
    index.sizes(everywhere(np.arange(number * batch, (number + 1) * batch))[1])
looked_up, looked_up_cpu = time.perf_counter(), time.process_time()
known = index.rows(np.array([0, len(index) // 2, len(index) - 1]))
position = everywhere.num_samples * 1000 + 123456789
state = {"cursor": Cursor(position).state_dict(), "seed": 2**32 - 1,
         "data_fingerprint": index.fingerprint}
print(json.dumps({
    "open_s": opened - start, "order_s": ordered - opened,
    "start_cpu_s": ordered_cpu - start_cpu,
    "lookup_us": 1e6 * (looked_up - ordered) / num_batches / batch,
    "lookup_cpu_us": 1e6 * (looked_up_cpu - ordered_cpu) / num_batches / batch,
    "before_mb": before, "started_mb": after, "after_lookups_mb": resident(),
    "samples": len(index), "known": known["height"].tolist(),
    "state_bytes": len(json.dumps(state)), "cursor_bytes": len(json.dumps(state["cursor"])),
}))
"""


def main(argv: list[str] | None = None) -> int:
    """Make, open, print and write; returns the exit code."""
    parser = CommandParser("python -m benchmarks.scale.billion", __doc__)
    add = parser.add_argument
    add("--samples", type=int, default=10**9, metavar="N", help="default: %(default)s")
    add("--shards", type=int, default=10**5, metavar="N", help="default: %(default)s")
    add("--folder", type=Path, metavar="DIR", help="where room is (default: the system's)")
    add("--out", type=Path, default=DEFAULT_OUT, metavar="FILE", help="default: %(default)s")
    return run_command(lambda: _run(parser.parse_args(argv)))


def make_folder(folder: Path, num_samples: int, num_shards: int) -> dict[str, int]:
    """A set of that size with no image in it; returns what it takes on a disk."""
    sizes = np.diff(np.linspace(0, num_samples, num_shards + 1).astype(np.int64)).tolist()
    shards = []
    for number, count in enumerate(sizes):
        sha256 = f"{number:064x}"
        shards.append(ShardInfo(f"train-{number:06d}.tar", count, 2 * TAR_BLOCK_BYTES, sha256))
        with open(folder / shards[-1].name, "wb") as tar:
            tar.truncate(2 * TAR_BLOCK_BYTES)
    manifest = Manifest(tuple(shards), tuple(f"class {i}" for i in range(1000)))
    manifest = replace(manifest, index_sha256="0" * 64)
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    with open(folder / INDEX_NAME, "wb") as file:
        header = {"descr": INDEX_DTYPE.descr, "fortran_order": False, "shape": (num_samples,)}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + num_samples * INDEX_DTYPE.itemsize)
        record = np.zeros(1, INDEX_DTYPE)
        for height, row in enumerate((0, num_samples // 2, num_samples - 1), start=1):
            record["height"] = height
            file.seek(start + row * INDEX_DTYPE.itemsize)
            file.write(record.tobytes())
    stats = {name: (folder / name).stat() for name in (INDEX_NAME, MANIFEST_NAME)}
    return {
        "index_bytes": stats[INDEX_NAME].st_size,
        "index_bytes_on_this_disk": stats[INDEX_NAME].st_blocks * 512,
        "manifest_bytes": stats[MANIFEST_NAME].st_size,
    }


def start_once(folder: Path, num_samples: int) -> dict[str, Any]:
    """The figures of a fresh process."""
    numbers = map(str, (BATCH, NUM_BATCHES, WINDOW_SHARDS))
    command = [sys.executable, "-c", _START, str(folder), *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    # The gate: it is the whole index, and the rows are where they were put.
    assert found.pop("samples") == num_samples
    assert found.pop("known") == [1, 2, 3]
    return found


def _run(options: argparse.Namespace) -> int:
    if not 3 <= options.shards <= options.samples or not options.out.parent.is_dir():
        raise UsageError("--shards are at least 3, --samples as many; --out lies in a folder")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        files = make_folder(folder, options.samples, options.shards)
        starts = [start_once(folder, options.samples) for _ in range(REPEATS)]
    results = {**files, **_medians(starts)}
    wrong = _over_bounds(results)
    report = {
        "conditions": conditions(),
        "settings": {
            **{"samples": options.samples, "shards": options.shards, "repeats": REPEATS},
            **{"batch": BATCH, "batches": NUM_BATCHES, "window_shards": WINDOW_SHARDS},
        },
        "results": results,
    }
    write_whole(options.out, json.dumps(report, indent=1) + "\n")
    table_console().print(_table(results))
    if wrong:
        raise DataError(f"a start must stay within its bounds, got {', '.join(wrong)}")
    return 0


def _medians(starts: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each number, also inside the dicts; of times also lowest and highest."""
    found: dict[str, Any] = {}
    for key, value in starts[0].items():
        column = [start[key] for start in starts]
        if isinstance(value, dict):
            found[key] = _medians(column)
        else:
            found[key] = round(statistics.median(column), 4)
            if key.endswith("_s"):
                found[f"{key}_range"] = [round(min(column), 4), round(max(column), 4)]
    return found


def _over_bounds(results: dict[str, Any]) -> list[str]:
    seconds = results["start_cpu_s"]
    peak_mb, state = results["started_mb"]["VmHWM"], results["state_bytes"]
    found = [
        (seconds > MAX_START_S, f"{seconds:.2f} s of {MAX_START_S:g}"),
        (peak_mb > MAX_START_MB, f"{peak_mb:.0f} MB of {MAX_START_MB:g}"),
        (state > MAX_STATE_BYTES, f"{state} bytes of state of {MAX_STATE_BYTES}"),
    ]
    return [text for is_over, text in found if is_over]


def _table(results: dict[str, Any]) -> Table:
    table = Table("figure", "value", title="the start on a set without images")
    for key, value in results.items():
        shown = value if isinstance(value, dict | list) else f"{value:,}"
        table.add_row(key, str(shown))
    return table


if __name__ == "__main__":
    sys.exit(main())
