"""What was measured on a GPU, whichever card's figures lie in benchmarks/results, and its name."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
FIRST = "h200"  # its figures are taken where there are several cards'
# How gpu_check.py's name of a card begins, and what byte_bound.py calls it.
BYTE_BOUND_NAMES = {"NVIDIA H200": "H200", "NVIDIA H100 80GB HBM3": "H100 SXM"}


def gpu_report() -> dict[str, Any]:
    """What gpu_check.py wrote, or an empty one: `gpu` the card's name, `date`, `results`."""
    files = sorted(RESULTS.glob("nvidia-*.json"), key=lambda path: (FIRST not in path.name, path))
    if not files:
        return {"gpu": None, "date": None, "results": {}}
    report = json.loads(files[0].read_text(encoding="utf-8"))
    done = report["conditions"]
    return {"gpu": done["gpu"], "date": done["date"], "results": report["results"]}


def short_name(gpu: str | None) -> str:
    """`H200` of NVIDIA H200; what is aimed at where nothing is measured."""
    return FIRST.upper() if gpu is None else gpu.removeprefix("NVIDIA ")


def byte_bound_name(gpu: str | None) -> str | None:
    """The card's name in byte_bound.py; None for one whose memory's speed is not written there."""
    if gpu is None:
        return FIRST.upper()
    return next((ours for theirs, ours in BYTE_BOUND_NAMES.items() if gpu.startswith(theirs)), None)
