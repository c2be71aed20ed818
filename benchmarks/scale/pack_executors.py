"""A pack by a Ray cluster of this machine beside one by its processes: time, work, bytes written.

    python -m benchmarks.scale.pack_executors [--images 50000] [--rounds 3] [--out FILE]

Small images are where a cluster's own cost shows most: its start, the imports of its processes,
parts that are written and then joined. Makes a Parquet file of so many 32 px PNGs, and packs it by
both in turn, each time in fresh processes. The processor time of all of them is counted, also of
those that Ray leaves behind (this process is their reaper), since time by the clock is also that
of whatever else the machine does. Both must have made the same bytes, or the exit code is 1.
"""

import argparse
import ctypes
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.format import TIMES_NAME
from trainer.record.conditions import conditions

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "pack_executors.json"
SIDE_PX = 32
VARIANTS = {"processes": (), "ray": ("--executor", "ray")}
_BLOCK_BYTES = 512  # of getrusage
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack."""

    seconds: float  # by the clock
    cpu_seconds: float  # of all its processes
    written_mb: float  # to disks, as the system counts them


def make_source(path: Path, num_images: int) -> None:
    """Smooth noise as PNGs, in the layout of Hugging Face."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw, rows = np.random.default_rng(0), []
    for _ in range(num_images):
        coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    labels = draw.integers(0, 10, num_images)
    pq.write_table(pa.table({"image": rows, "label": labels}), path)


def pack(source: Path, out: Path, *words: str) -> Pack:
    """Run the command, and wait for everything that it started."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "tools.make_shards", str(source), str(out), "--workers", "2"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise DataError(f"a pack ends well, got {done.stderr.strip()}; mend that first")
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    written = (after.ru_oublock - before.ru_oublock) * _BLOCK_BYTES
    return Pack(round(seconds, 2), round(cpu, 2), round(written / 1e6, 1))


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of a set."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != TIMES_NAME}


def measure(num_images: int, rounds: int) -> dict[str, list[Pack]]:
    """All packs of each variant, in turn; DataError where their bytes differ."""
    found: dict[str, list[Pack]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "images.parquet", dict[str, dict[str, bytes]]()
        make_source(source, num_images)
        for _ in range(rounds):
            for name, words in VARIANTS.items():
                out = Path(folder) / "set"
                found[name].append(pack(source, out, *words))
                sys.stderr.write(f"{name}: {found[name][-1]}\n")
                made[name] = contents(out)
                shutil.rmtree(out)
            if made["processes"] != made["ray"]:
                raise DataError("both make the same bytes, got others by ray; look at the join")
    return found


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=50_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="FILE")
    args = parser.parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.images < 1 or args.rounds < 1:
        raise UsageError("images and rounds are at least 1, got fewer; leave the flags out")
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    found = measure(args.images, args.rounds)
    medians = {
        name: {
            key: statistics.median(asdict(one)[key] for one in packs)
            for key in ("seconds", "cpu_seconds", "written_mb")
        }
        for name, packs in found.items()
    }
    rates = {
        key: round(medians["processes"][key] / medians["ray"][key], 3)
        for key in ("seconds", "cpu_seconds")
    }
    report = {
        "conditions": conditions(),
        "settings": {"images": args.images, "side_px": SIDE_PX, "workers": 2},
        "rounds": {name: [asdict(one) for one in packs] for name, packs in found.items()},
        "median": medians,
        "rate_of_ray": rates,
    }
    write_whole(args.out, json.dumps(report, indent=1) + "\n")
    sys.stdout.write(f"ray packs at {rates['seconds']:.2f} of the rate, see {args.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
