"""How long it takes to open 1,000,000 samples, and how fast the order and the index answer.

    python -m benchmarks.scale.million_rows [--samples 1000000] [--out FILE]

Makes a synthetic index (100 shards, random records, empty tars) in a temporary folder; each figure
is the median of several repeats, the lowest and highest beside it. Opening is measured in a fresh
process, without its imports, so that nothing is warm but the disk cache.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from shards.atomic import write_whole
from shards.format import INDEX_DTYPE, TAR_BLOCK_BYTES, Manifest, ShardInfo
from shards.index import ShardIndex, write_index
from shards.order import SampleOrder

_NUM_SHARDS = 100
_REPEATS = 7
_OPEN_IN_FRESH_PROCESS = """
import sys, time
from shards.index import ShardIndex
start = time.perf_counter()
index = ShardIndex.open(sys.argv[1])
print(time.perf_counter() - start, len(index))
"""


def main(argv: list[str] | None = None) -> int:
    """Run, print a line a figure, and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/index.json"))
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        make_index(Path(folder), options.samples)
        results = {
            "open_s": summary(lambda: open_in_fresh_process(folder, options.samples)),
            **order_results(options.samples),
            **lookup_results(ShardIndex.open(folder)),
        }
    for name, values in results.items():
        print(f"{name}: {values['median']:.4g} ({values['low']:.4g} to {values['high']:.4g})")
    report = {"conditions": conditions(options.samples), "results": results}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.out, json.dumps(report, indent=1) + "\n")
    return 0


def make_index(folder: Path, num_samples: int) -> None:
    """Random records over empty tars: opening looks at sizes, not inside."""
    rng = np.random.default_rng(0)
    sizes = np.diff(np.linspace(0, num_samples, _NUM_SHARDS + 1).astype(np.int64)).tolist()
    records = np.zeros(num_samples, INDEX_DTYPE)
    records["shard"] = np.repeat(np.arange(_NUM_SHARDS), sizes)
    for name, high in (("offset", 1 << 28), ("size", 1 << 18), ("crc32", 1 << 32), ("label", 1000)):
        records[name] = rng.integers(1, high, num_samples)
    for name in ("height", "width"):
        records[name] = rng.integers(100, 1000, num_samples)
    shards = []
    for number, count in enumerate(sizes):
        shards.append(ShardInfo(f"{number:06d}.tar", count, 2 * TAR_BLOCK_BYTES, None))
        (folder / shards[-1].name).write_bytes(bytes(2 * TAR_BLOCK_BYTES))
    write_index(folder, records, Manifest(tuple(shards), tuple(map(str, range(1000)))))


def open_in_fresh_process(folder: str, num_samples: int) -> float:
    """Seconds of `ShardIndex.open`, imports not counted."""
    command = [sys.executable, "-c", _OPEN_IN_FRESH_PROCESS, folder]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, length = out.split()
    assert int(length) == num_samples
    return float(seconds)


def order_results(num_samples: int) -> dict[str, dict[str, float]]:
    """Ids a second, global and windowed, for a batch and for a long stretch."""
    sizes = np.diff(np.linspace(0, num_samples, _NUM_SHARDS + 1).astype(np.int64)).tolist()
    orders = {
        "global": SampleOrder(num_samples, 0),
        "window_of_10_shards": SampleOrder(num_samples, 0, shard_sizes=sizes, window_shards=10),
    }
    results = {}
    for name, order in orders.items():
        assert len(np.unique(order(np.arange(num_samples))[1])) == num_samples
        for count in (256, min(100_000, num_samples)):
            rate = rate_of(lambda o=order, n=count: o(np.arange(n)), count)
            results[f"order_{name}_batch_{count}_ids_per_s"] = rate
    return results


def lookup_results(index: ShardIndex) -> dict[str, dict[str, float]]:
    """Sizes a second for random batches of 256."""
    ids = np.random.default_rng(0).integers(0, len(index), 256)
    return {"sizes_batch_256_ids_per_s": rate_of(lambda: index.sizes(ids), 256)}


def rate_of(call: Callable[[], object], count: int) -> dict[str, float]:
    """`count` over the seconds of a call, over enough calls to take a tenth of a second."""
    start = time.perf_counter()
    call()
    calls = max(1, int(0.1 / (time.perf_counter() - start)))

    def once() -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return calls * count / (time.perf_counter() - start)

    return summary(once)


def summary(measure: Callable[[], float]) -> dict[str, float]:
    """Median, lowest and highest of the repeats."""
    values = [measure() for _ in range(_REPEATS)]
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def conditions(num_samples: int) -> dict[str, object]:
    """What the figures depend on."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), cpu)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "samples": num_samples,
        "shards": _NUM_SHARDS,
        "repeats": _REPEATS,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()],
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "commit": commit.stdout.strip(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    sys.exit(main())
