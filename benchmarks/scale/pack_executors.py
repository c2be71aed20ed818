"""A pack by a Ray cluster beside one by processes: time, work, bytes written.

    python -m benchmarks.scale.pack_executors [--images 50000] [--rounds 3] [--core N] [--out FILE]

Small images are where a cluster's own cost shows most: its start, the imports of its processes,
parts that are written and then joined. Makes a Parquet file of so many 32 px PNGs, and packs it in
turn by two processes, by a cluster that the command starts on this machine, and by one that runs
already. Each command is a fresh process; the order changes from round to round. Time by the clock
is also that of whatever else the machine does, so the processor time is what is compared: of the
command, of its workers, and of Ray's services, which a cluster that runs has anyway. Before
anything is measured all pack a few images, and every round must have made the same bytes, or the
exit code is 1.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.scale.process_tally import Tally, Used, marked
from benchmarks.scale.running_cluster import RunningCluster, running_cluster
from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.format import TIMES_NAME, version_of
from trainer.record.conditions import conditions

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "pack_executors.json"
SIDE_PX = 32
WORKERS = 2
VARIANTS = {
    "processes": (),
    "ray": ("--executor", "ray"),
    "running_ray": ("--executor", "ray:ADDRESS"),
}
_ADDRESS = "ADDRESS"
_FIRST_IMAGES = 1_500  # packed by all of them before anything is measured


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack."""

    seconds: float  # by the clock
    command_s: float  # of the processor: the command's own process
    workers_s: float  # its workers
    services_s: float  # what runs beside them: of a cluster that ran before, what it used meanwhile
    written_mb: float  # to disks, as the system counts them

    @property
    def cpu_seconds(self) -> float:
        """Of all of it."""
        return self.command_s + self.workers_s + self.services_s

    @property
    def own_cpu_seconds(self) -> float:
        """Without what serves every pack alike, where it runs already."""
        return self.command_s + self.workers_s


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


def pack(source: Path, out: Path, words: list[str], cluster: RunningCluster | None = None) -> Pack:
    """Run the command to its end; `cluster` is the one that it is to use, if that runs already."""
    mark, start = uuid.uuid4().hex, time.perf_counter()
    before = (cluster.tally.workers(), cluster.tally.others()) if cluster else (Used(), Used())
    env = marked(mark) | (cluster.access if cluster else {})
    command = [sys.executable, "-m", "tools.make_shards", str(source), str(out)]
    command += ["--workers", str(WORKERS), *words]
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    with Tally(mark) as tally:
        with subprocess.Popen(command, env=env, stdout=quiet, stderr=pipe, text=True) as packing:
            _, said = packing.communicate()
        seconds = time.perf_counter() - start
    if packing.returncode:
        raise DataError(f"a pack ends well, got {said.strip()}; mend that first")
    own, workers = tally.of(packing.pid), tally.workers()
    services = tally.others() - own
    if cluster:
        time.sleep(1)  # its workers end, and are looked at once more
        workers += cluster.tally.workers() - before[0]
        services += cluster.tally.others() - before[1]
    return Pack(
        seconds=round(seconds, 2),
        command_s=round(own.cpu_seconds, 2),
        workers_s=round(workers.cpu_seconds, 2),
        services_s=round(services.cpu_seconds, 2),
        written_mb=round((own + workers + services).written_bytes / 1e6, 1),
    )


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of a set."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != TIMES_NAME}


def measure(num_images: int, rounds: int) -> Iterator[dict[str, list[Pack]]]:
    """All packs of each variant, after every round; DataError where their bytes differ."""
    found: dict[str, list[Pack]] = {name: [] for name in VARIANTS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = None
        if any(_ADDRESS in word for words in VARIANTS.values() for word in words):
            cluster = stack.enter_context(running_cluster(WORKERS))
        sources = [folder / "first.parquet", folder / "images.parquet"]
        make_source(sources[0], min(num_images, _FIRST_IMAGES))
        make_source(sources[1], num_images)
        for number in range(rounds + 1):
            made = {}
            names = list(VARIANTS)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                uses = cluster if any(_ADDRESS in word for word in VARIANTS[name]) else None
                address = uses.address if uses else ""
                words = [word.replace(_ADDRESS, address) for word in VARIANTS[name]]
                out = folder / "set"
                one = pack(sources[number > 0], out, words, uses)
                made[name] = contents(out)
                shutil.rmtree(out)
                if number:
                    found[name].append(one)
                    sys.stderr.write(f"{name}: {one}\n")
            for name, content in made.items():
                if content != made["processes"]:
                    raise DataError(
                        f"all make the same bytes, got others by {name}; look at the join"
                    )
            if number:
                yield found


def rates(found: dict[str, list[Pack]]) -> dict[str, dict[str, float]]:
    """Of each variant, as a share of the processes': the median of the rounds."""
    measures = ("seconds", "cpu_seconds", "own_cpu_seconds")
    return {
        name: {
            measure: round(
                statistics.median(
                    getattr(base, "seconds" if measure == "seconds" else "cpu_seconds")
                    / getattr(one, measure)
                    for base, one in zip(found["processes"], packs, strict=True)
                ),
                3,
            )
            for measure in measures
        }
        for name, packs in found.items()
        if name != "processes"
    }


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--images", type=int, default=50_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--core", type=int, metavar="N", help="the one that all of it runs on")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="FILE")
    args = parser.parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.images < 1 or args.rounds < 1:
        raise UsageError("images and rounds are at least 1, got fewer; leave the flags out")
    around = conditions() | {"ray": version_of("ray")}
    if args.core is not None:
        _pin(args.core)
    settings = {"images": args.images, "side_px": SIDE_PX, "workers": WORKERS}
    settings |= {"all_on_core": args.core}
    rate = {}
    for found in measure(args.images, args.rounds):
        rate = rates(found)
        rounds = {name: [_told(one) for one in packs] for name, packs in found.items()}
        report = {"conditions": around, "settings": settings, "rounds": rounds, "rate": rate}
        write_whole(args.out, json.dumps(report, indent=1) + "\n")
    for name, one in rate.items():
        sys.stdout.write(f"{name} packs at {one['cpu_seconds']:.2f} of the processes' rate\n")
    sys.stdout.write(f"see {args.out}\n")
    return 0


def _told(one: Pack) -> dict[str, float]:
    sums = {"cpu_seconds": one.cpu_seconds, "own_cpu_seconds": one.own_cpu_seconds}
    return asdict(one) | {name: round(seconds, 2) for name, seconds in sums.items()}


def _pin(core: int) -> None:
    """Keep this process, and all that it starts, on one core; raises UsageError."""
    usable = os.sched_getaffinity(0)
    if core not in usable:
        raise UsageError(
            f"--core names a core that this process may use, got {core}; give one of "
            f"{', '.join(map(str, sorted(usable)))}"
        )
    os.sched_setaffinity(0, {core})


if __name__ == "__main__":
    sys.exit(main())
