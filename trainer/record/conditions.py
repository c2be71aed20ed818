"""The conditions of a figure: machine, versions, load, date, commit.

Scores and benchmarks put it into their JSON.
"""

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from shards.processes.parallel import usable_cores

LIBRARIES = ("torch", "numpy", "nvidia-dali-cuda120", "kornia", "pillow", "numba", "triton")
_ROOT = Path(__file__).parents[2]


def conditions() -> dict[str, object]:
    """Plain values, found anew by every call."""
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in LIBRARIES if (version := _version(name))},
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
    }


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def _commit() -> str | None:
    """Of the tree that this file is in; None where it is no checkout of its own."""
    if not (_ROOT / ".git").exists():
        return None
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
