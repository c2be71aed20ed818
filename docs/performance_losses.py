"""The losses' part of performance.py: memory, launches and time of each form, and what we want."""

import json
from pathlib import Path
from typing import Any

from gpu_report import gpu_report, short_name

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
NOT_MEASURED = "not measured"
_OURS = ("eager", "compiled")


def loss_conditions() -> str:
    """Machine, versions and date of the CPU's figures."""
    report = _report()
    done, settings = report["conditions"], report["settings"]
    versions = ", ".join(f"{name} {done['versions'][name]}" for name in ("torch", "triton"))
    return (
        f"{done['cores']} cores of an {done['cpu']}, {settings['threads']} threads, {versions}; "
        f"{done['date']}, load average {done['load_average_1min']} at the start. Forward and "
        f"backward, inputs in {settings['dtype']}, medians of {settings['rounds']} interleaved "
        "rounds."
    )


def loss_memory() -> str:
    """Peak memory and launches."""
    lines = [
        "| loss | eager, MB | compiled | ours | eager / ours | wanted | launches, eager | ours |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for found in _report()["problems"].values():
        forms, wanted = found["forms"], found["wanted"]["most_memory"]
        ours = forms["fused"]["peak_mb"]
        eager = forms["eager"]["peak_mb"] if "eager" in forms else None
        ratio = None if eager is None else eager / ours
        is_missed = ratio is not None and wanted is not None and ratio < 1 / wanted
        cells = [
            _number(eager, ",.0f"),
            _number(_of(forms, "compiled", "peak_mb"), ",.0f"),
            f"{ours:,.1f}",
            f"**{ratio:.1f}**" if is_missed else _number(ratio, ".1f"),
            _number(None if wanted is None else 1 / wanted, ".0f"),
            _number(_of(forms, "eager", "launches"), "d"),
            _number(_of(forms, "fused", "launches"), "d"),
        ]
        lines.append(f"| {found['title']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def loss_times() -> str:
    """Milliseconds on the CPU, and what the GPU's file says."""
    report = gpu_report()
    gpu, card = report["results"].get("losses", {}).get("problems", {}), short_name(report["gpu"])
    lines = [
        f"| loss | ours, ms (CPU) | x as fast as eager | as compiled | as compiled, {card} | "
        "wanted |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, found in _report()["problems"].items():
        ours, wanted = found["forms"]["fused"], found["wanted"]["least_speed"]
        cells = [
            f"{ours['ms']:,.0f}",
            _ratio(found, "eager"),
            _ratio(found, "compiled"),
            _ratio(gpu[name], "compiled") if name in gpu else NOT_MEASURED,
            _number(wanted, ".1f"),
        ]
        lines.append(f"| {found['title']} | {' | '.join(cells)} |")
    for found in _report()["problems"].values():
        others = [name for name in found["fused_is_times_as_fast"] if name not in _OURS]
        for name in others:
            form = found["forms"][name]
            lines.append("")
            lines.append(
                f"{found['title']}: `{name}` took {form['ms']:,.0f} ms and "
                f"{form['peak_mb']:,.0f} MB; ours was {_ratio(found, name)} times as fast."
            )
    return "\n".join(lines)


def _ratio(found: dict[str, Any], name: str) -> str:
    ratio = found["fused_is_times_as_fast"].get(name)
    if ratio is None:
        return ""
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"


def _of(forms: dict[str, Any], form: str, key: str) -> Any:
    return forms[form][key] if form in forms else None


def _number(value: float | None, style: str) -> str:
    return "" if value is None else format(value, style)


def _report() -> dict[str, Any]:
    return json.loads((RESULTS / "losses_cpu.json").read_text(encoding="utf-8"))
