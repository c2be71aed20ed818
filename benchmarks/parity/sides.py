"""The two sides of a pair: each trains one method in a process of its own and leaves an encoder.

Of both the same is told: costs from outside (command_costs.py), and from within the speed and the
wait of every window of ten steps, without the first two steps.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.parity.command_costs import run_watched
from benchmarks.parity.our_recipe import our_recipe
from shards.errors import DataError
from trainer.record.conditions import conditions
from trainer.record.log import read_metrics

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one side."""

    set: str
    epochs: int
    method: str
    seed: int
    side: str

    def __str__(self) -> str:
        return f"{self.set} {self.method} seed {self.seed} {self.side}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a side finds what it needs, and where it writes."""

    work: Path
    train: str  # shards
    images: Path  # the same as files
    peer_python: str | None

    def of(self, job: Job) -> Path:
        """The folder of a job's run."""
        return self.work / "runs" / f"{job.set}-{job.epochs}-{job.method}-{job.seed}-{job.side}"


def train(job: Job, place: Place) -> dict[str, Any]:
    """Train anew; what it took, under which conditions, and its speed."""
    out = place.of(job)
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    before = conditions()
    log = out.with_suffix(".log")
    command = COMMANDS[job.side](job, place, out)
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    taken = run_watched(command, log, environment)
    found = _ours(out) if job.side == "ours" else _theirs(out)
    log.unlink()
    return asdict(job) | asdict(taken) | found | {"conditions": before}


def _our_command(job: Job, place: Place, out: Path) -> list[str]:
    recipe = out.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump(our_recipe(job.method)), encoding="utf-8")
    length = ["--epochs", str(job.epochs), "--seed", str(job.seed)]
    where = ["--data", place.train, "--out", str(out)]
    return [sys.executable, "-m", "trainer.run", "--config", str(recipe), *length, *where]


def _their_command(job: Job, place: Place, out: Path) -> list[str]:
    assert place.peer_python is not None
    words = ["--method", job.method, "--epochs", str(job.epochs), "--seed", str(job.seed)]
    where = ["--images", str(place.images), "--out", str(out)]
    return [place.peer_python, "-m", "benchmarks.parity.peer_train", *words, *where]


COMMANDS: Mapping[str, Callable[[Job, Place, Path], list[str]]] = {
    "ours": _our_command,
    "lightly": _their_command,
}


def _ours(run: Path) -> dict[str, Any]:
    records = [record for record in read_metrics(run) if "loss" in record]
    return {"steps": records[-1]["step"], **steady(records)}


def _theirs(out: Path) -> dict[str, Any]:
    record = json.loads((out / "record.json").read_text(encoding="utf-8"))
    told = steady(record["windows"])
    return {"steps": record["steps"], **told, "versions": record["versions"]}


def steady(windows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Images a second and the share of the time that waited for data, over all windows.

    Windows are of as many images, but for the first and the last, which are shorter: each counts by
    its time for so many.
    """
    if not windows:
        raise DataError("a run tells of ten steps or more, got fewer; train longer")
    seconds = [1 / window["images_per_s"] for window in windows]
    waits = [s * window["data_wait"] for s, window in zip(seconds, windows, strict=True)]
    losses = [window["loss"] for window in windows]
    return {
        "images_per_s": len(windows) / sum(seconds),
        "data_wait": sum(waits) / sum(seconds),
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }
