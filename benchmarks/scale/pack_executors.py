"""A pack by a Ray cluster of this machine beside one by its processes: time, work, bytes written.

    python -m benchmarks.scale.pack_executors [--images 50000] [--rounds 3] [--out FILE]

Small images are where a cluster's own cost shows most: its start, the imports of its processes,
parts that are written and then joined. Makes a Parquet file of so many 32 px PNGs, and packs it by
both in turn, each time in fresh processes. The processor time and the written bytes of all of them
are counted, by a look at /proc every tenth of a second, since time by the clock is also that of
whatever else the machine does: Ray waits for its own processes in a way that tells their parent
nothing. Both must have made the same bytes, or the exit code is 1.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
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
_LOOK_S = 0.1
_MARK = "AUGENGINE_PACK"  # of the environment, by which processes are known


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


class Tally:
    """A thread that adds up what the processes with a mark in their environment have used."""

    def __init__(self, mark: str) -> None:
        self._mark = f"{_MARK}={mark}".encode()
        self._used: dict[str, tuple[float, int]] = {}
        self._others: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on)

    def __enter__(self) -> "Tally":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float:
        """Of all of them, up to the last look at each."""
        return sum(seconds for seconds, _ in self._used.values())

    @property
    def written_bytes(self) -> int:
        """To disks, likewise."""
        return sum(size for _, size in self._used.values())

    def _look_on(self) -> None:
        while not self._ended.wait(_LOOK_S):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                if pid in self._others:
                    continue
                # It may end meanwhile.
                with contextlib.suppress(OSError, ValueError):
                    self._look_at(pid)

    def _look_at(self, pid: str) -> None:
        folder = Path("/proc", pid)
        if pid not in self._used and self._mark not in (folder / "environ").read_bytes():
            # A process that is being started has its parent's for a moment.
            if time.time() - folder.stat().st_ctime > 1:
                self._others.add(pid)
            return
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        written = (folder / "io").read_text().partition("\nwrite_bytes: ")[2].split()[0]
        self._used[pid] = (ticks / os.sysconf("SC_CLK_TCK"), int(written))


def pack(source: Path, out: Path, *words: str) -> Pack:
    """Run the command to its end."""
    mark, start = uuid.uuid4().hex, time.perf_counter()
    command = [sys.executable, "-m", "tools.make_shards", str(source), str(out), "--workers", "2"]
    with Tally(mark) as tally:
        done = subprocess.run(
            [*command, *words],
            env=os.environ | {_MARK: mark},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise DataError(f"a pack ends well, got {done.stderr.strip()}; mend that first")
    return Pack(round(seconds, 2), round(tally.cpu_seconds, 2), round(tally.written_bytes / 1e6, 1))


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
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--images", type=int, default=50_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="FILE")
    args = parser.parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.images < 1 or args.rounds < 1:
        raise UsageError("images and rounds are at least 1, got fewer; leave the flags out")
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
