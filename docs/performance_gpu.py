"""The GPU's part of performance.py: the byte bound, and what has been measured against it."""

from typing import Any

from gpu_report import byte_bound_name, gpu_report, short_name

from augengine.policies import load_policy
from tools.profiling.byte_bound import MEMORY_BYTES_PER_S, count_bytes

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
    """The terms of tools/profiling/byte_bound.py, and the images a second they allow."""
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
    """What is wanted, and what the card's file in benchmarks/results says."""
    report = gpu_report()
    found, bound_name = report["results"], byte_bound_name(report["gpu"])
    bound = None
    if bound_name is not None:
        swav = count_bytes(load_policy("swav"), 375, 500)
        bound = swav.images_per_s(MEMORY_BYTES_PER_S[bound_name])
    fused, kornia, dali = (
        _rate(found, name, f"augment alone, {name}") for name in ("fused", "kornia", "dali")
    )
    alone, exact = (_rate_alone(found, form) for form in ("half", "exact"))
    decode, whole = (_rate(found, "fused", row) for row in ("decode alone", "end to end, fused"))
    rows = [
        ("augment only, 2+6: share of the bound (total, bfloat16)", "30 %", _share(alone, bound)),
        ("the same with all sums in float32 (`exact`)", "", _share(exact, bound)),
        ("fused / kornia, augment only, same plan", "20", _quotient(fused, kornia)),
        ("fused / dali, augment only, same plan", "5", _quotient(fused, dali)),
        ("decode + fused 2+6 / decode alone", "0.95", _quotient(whole, decode)),
        (
            "SwAV 2+6 ResNet-50 bf16 steps: real data / the same batch resident",
            "0.97",
            _resident(found),
        ),
    ]
    when = "" if report["date"] is None else f", {report['date']}"
    lines = [f"| on an {short_name(report['gpu'])} | wanted | measured{when} |", "|---|---:|---:|"]
    return "\n".join(
        [*lines, *(f"| {what} | {target} | {got or NOT_MEASURED} |" for what, target, got in rows)]
    )


def _rate(found: dict[str, Any], backend: str, row: str) -> float | None:
    rows = found.get(f"profile {backend}", {}).get("results", {})
    return rows[row]["images_per_s"] if row in rows else None


def _rate_alone(found: dict[str, Any], form: str) -> float | None:
    forms = found.get("fused alone", {}).get("forms", {})
    return forms[form]["images_per_s"] if form in forms else None


def _resident(found: dict[str, Any]) -> str | None:
    ratio = found.get("resident", {}).get("real_over_resident")
    return None if ratio is None else f"{ratio['median']:.2f}"


def _quotient(a: float | None, b: float | None) -> str | None:
    return None if a is None or b is None else f"{a / b:.2f}"


def _share(rate: float | None, bound: float | None) -> str | None:
    return None if rate is None or bound is None else f"{rate / bound:.0%}"
