"""One training run as anyone types it, in a process of its own, and what it left behind."""

import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from shards.errors import DataError
from trainer.record.conditions import conditions
from trainer.record.log import read_metrics

NEED_A_RUN = ("distill", "simreg")  # they learn from a run that is finished


def train_once(words: list[str], run: Path, *more: str) -> dict[str, Any]:
    """Run `python -m trainer.run WORDS`; its scores, speed and conditions. `more` is not quoted."""
    before = conditions()
    start = time.perf_counter()
    python("trainer.run", *words, *more, "--out", str(run))
    seconds = time.perf_counter() - start
    steps, knn = ([r for r in read_metrics(run) if key in r] for key in ("loss", "knn"))
    return {
        "command": f"python -m trainer.run {shlex.join(words)}",
        "knn": knn[-1]["knn"],
        "random_knn": knn[0]["knn"],
        "curve": [record["knn"] for record in knn],
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "std": steps[-1]["std"],
        "rank": steps[-1]["rank"],
        "images_per_s": statistics.median(record["images_per_s"] for record in steps),
        "peak_mib": max(record["peak_memory_mib"] for record in steps),
        "seconds": seconds,
        "conditions": before,
    }


def python(module: str, *arguments: str) -> str:
    """What a module that is run prints; DataError with its last words when it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise DataError(f"{module} ended with code {done.returncode}: {words}")
    return done.stdout


def read_rows(out: Path, key: str) -> Any:
    """The rows that a file has already; None where there is none."""
    return json.loads(out.read_text(encoding="utf-8"))[key] if out.is_file() else None
