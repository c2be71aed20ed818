"""The GPU's part of performance.md: the byte bound, and what one card measured against it."""

import json
from typing import Any

import make
from make import NOT_MEASURED, table

from augengine.policies import load_policy
from tools.profiling.byte_bound import MEMORY_BYTES_PER_S, count_bytes

FIRST = "h200"  # its figures are taken where there are several cards'
# How gpu_check.py's name of a card begins, and what byte_bound.py calls it.
BYTE_BOUND_NAMES = {"NVIDIA H200": "H200", "NVIDIA H100 80GB HBM3": "H100 SXM"}
VIEW_BYTES = {"bfloat16": 2, "float32": 4}
TERMS = {
    "pixels": "pixels: covered by a window, 3 bytes each",
    "plan": "plan",
    "views": "views, written once",
    "compulsory": "**compulsory**",
    "round_trips": "round trips: contrast or blur, float32",
    "total": "**total**",
}


def gpu_report() -> dict[str, Any]:
    """Of gpu_check.py's files the first: `gpu` the card's name or None, `date`, `results`."""
    paths = make.RESULTS.glob("nvidia-*.json")
    files = sorted(paths, key=lambda path: (FIRST not in path.name, path))
    if not files:
        return {"gpu": None, "date": None, "results": {}}
    report = json.loads(files[0].read_text(encoding="utf-8"))
    done = report["conditions"]
    return {"gpu": done["gpu"], "date": done["date"], "results": report["results"]}


def short_name(gpu: str | None) -> str:
    """`H200` of NVIDIA H200; what is aimed at where nothing is measured."""
    return FIRST.upper() if gpu is None else gpu.removeprefix("NVIDIA ")


def byte_bound() -> str:
    """The terms of tools/profiling/byte_bound.py, and the images a second they allow."""
    policy = load_policy("swav").with_views((2, 6), (224, 96))
    counts = {name: count_bytes(policy, 375, 500, size) for name, size in VIEW_BYTES.items()}
    rows = [
        [words, *(f"{getattr(count, name):,.0f}" for count in counts.values())]
        for name, words in TERMS.items()
    ]
    rows += [
        [
            f"img/s on {gpu} at {speed / 1e12:g} TB/s, {kind}",
            *(f"{speed / getattr(count, kind):,.0f}" for count in counts.values()),
        ]
        for gpu, speed in MEMORY_BYTES_PER_S.items()
        for kind in ("compulsory", "total")
    ]
    return table(["bytes an image, SwAV 2+6, 500x375", *counts], rows)


def gpu_targets() -> str:
    """The figures that are wanted, beside those of the card's file in benchmarks/results."""
    report = gpu_report()
    bound = _bound(report["gpu"])

    def rate(*path: str) -> float | None:
        found = report["results"]
        for name in (*path, "images_per_s"):
            found = found.get(name, {})
        return found or None

    def quotient(a: float | None, b: float | None, form: str = ".2f") -> str:
        return NOT_MEASURED if a is None or b is None else format(a / b, form)

    fused, kornia, dali = (
        rate(f"profile {name}", "results", f"augment alone, {name}")
        for name in ("fused", "kornia", "dali")
    )
    half, exact = (rate("fused alone", "forms", form) for form in ("half", "exact"))
    decode, whole = (
        rate("profile fused", "results", row) for row in ("decode alone", "end to end, fused")
    )
    resident = report["results"].get("resident", {}).get("real_over_resident", {}).get("median")
    rows = [
        (
            "augment only, 2+6: share of the bound (total, bfloat16)",
            "30 %",
            quotient(half, bound, ".0%"),
        ),
        ("the same with all sums in float32 (`exact`)", "", quotient(exact, bound, ".0%")),
        ("fused / kornia, augment only, same plan", "20", quotient(fused, kornia)),
        ("fused / dali, augment only, same plan", "5", quotient(fused, dali)),
        ("decode + fused 2+6 / decode alone", "0.95", quotient(whole, decode)),
        (
            "SwAV 2+6 ResNet-50 bf16 steps: real data / the same batch resident",
            "0.97",
            quotient(resident, 1),
        ),
    ]
    when = "" if report["date"] is None else f", {report['date']}"
    return table((f"on an {short_name(report['gpu'])}", "wanted", f"measured{when}"), rows)


def _bound(gpu: str | None) -> float | None:
    """Images a second that the card's memory allows; None where its speed is not known."""
    known = FIRST.upper()
    if gpu is not None:
        known = next((n for card, n in BYTE_BOUND_NAMES.items() if gpu.startswith(card)), "")
    speed = MEMORY_BYTES_PER_S.get(known)
    return None if speed is None else count_bytes(load_policy("swav"), 375, 500).images_per_s(speed)
