"""The GPU's part of performance.py: the byte bound, and what has been measured against it."""

import json
from pathlib import Path
from typing import Any

from augengine.policies import load_policy
from tools.byte_bound import MEMORY_BYTES_PER_S, count_bytes

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
GPU, GPU_NAME = "nvidia-h200", "H200"  # the file that gpu_check.py names after the card
NOT_MEASURED = "not measured"
VIEW_BYTES = {"bfloat16": 2, "float32": 4}
TERMS = {
    "pixels": "pixels: covered by a window, 3 bytes each",
    "plan": "plan",
    "views": "views, written once",
    "compulsory": "**compulsory**",
    "round_trips": "round trips: contrast or blur, float32",
    "total": "**total**",
}


def byte_bound() -> str:
    """The terms of tools/byte_bound.py, and the images a second they allow."""
    policy = load_policy("swav").with_views((2, 6), (224, 96))
    counts = {name: count_bytes(policy, 375, 500, size) for name, size in VIEW_BYTES.items()}
    lines = [
        f"| bytes an image, SwAV 2+6, 500x375 | {' | '.join(counts)} |",
        f"|---|{'---:|' * len(counts)}",
    ]
    for name, words in TERMS.items():
        cells = " | ".join(f"{getattr(count, name):,.0f}" for count in counts.values())
        lines.append(f"| {words} | {cells} |")
    for gpu, speed in MEMORY_BYTES_PER_S.items():
        for words, kind in (("compulsory", "compulsory"), ("total", "total")):
            cells = " | ".join(f"{speed / getattr(c, kind):,.0f}" for c in counts.values())
            lines.append(f"| img/s on {gpu} at {speed / 1e12:g} TB/s, {words} | {cells} |")
    return "\n".join(lines)


def gpu_targets() -> str:
    """What is wanted, and what benchmarks/results/nvidia-h200.json says."""
    path = RESULTS / f"{GPU}.json"
    found = json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else {}
    bound = count_bytes(load_policy("swav"), 375, 500).images_per_s(MEMORY_BYTES_PER_S[GPU_NAME])
    fused, kornia, dali = (
        _rate(found, name, f"augment alone, {name}") for name in ("fused", "kornia", "dali")
    )
    decode, whole = (_rate(found, "fused", row) for row in ("decode alone", "end to end, fused"))
    rows = [
        ("augment only, 2+6: share of the bound (total, bfloat16)", "30 %", _share(fused, bound)),
        ("fused / kornia, augment only, same plan", "20", _quotient(fused, kornia)),
        ("fused / dali, augment only, same plan", "5", _quotient(fused, dali)),
        ("decode + fused 2+6 / decode alone", "0.95", _quotient(whole, decode)),
        (
            "SwAV 2+6 ResNet-50 bf16 steps: real data / the same batch resident",
            "0.97",
            _resident(found),
        ),
    ]
    lines = [f"| on an {GPU_NAME} | wanted | measured |", "|---|---:|---:|"]
    return "\n".join(
        [*lines, *(f"| {what} | {target} | {got or NOT_MEASURED} |" for what, target, got in rows)]
    )


def _rate(found: dict[str, Any], backend: str, row: str) -> float | None:
    rows = found.get(f"profile {backend}", {}).get("results", {})
    return rows[row]["images_per_s"] if row in rows else None


def _resident(found: dict[str, Any]) -> str | None:
    ratio = found.get("resident", {}).get("real_over_resident")
    return None if ratio is None else f"{ratio['median']:.2f}"


def _quotient(a: float | None, b: float | None) -> str | None:
    return None if a is None or b is None else f"{a / b:.2f}"


def _share(rate: float | None, bound: float) -> str | None:
    return None if rate is None else f"{rate / bound:.0%}"
