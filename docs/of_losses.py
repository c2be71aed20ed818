"""The losses' part of performance.md: memory, launches and time of each form, and what we want."""

from typing import Any

from make import NOT_MEASURED, number, results, spread, table
from of_gpu import gpu_report, short_name


def loss_conditions() -> str:
    """Machine, versions and date of the CPU's figures."""
    report = results("losses_cpu")
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
    rows = []
    for found in _problems():
        wanted = found["wanted"]["most_memory"]
        peaks, launches = (
            {form: found["forms"].get(form, {}).get(key) for form in ("eager", "compiled", "fused")}
            for key in ("peak_mb", "launches")
        )
        ratio = None if peaks["eager"] is None else peaks["eager"] / peaks["fused"]
        is_missed = ratio is not None and wanted is not None and ratio < 1 / wanted
        rows.append(
            [
                found["title"],
                number(peaks["eager"], ",.0f"),
                number(peaks["compiled"], ",.0f"),
                number(peaks["fused"], ",.1f"),
                f"**{ratio:.1f}**" if is_missed else number(ratio, ".1f"),
                number(None if wanted is None else 1 / wanted, ".0f"),
                number(launches["eager"], "d"),
                number(launches["fused"], "d"),
            ]
        )
    head = "loss|eager, MB|compiled|ours|eager / ours|wanted|launches, eager|ours"
    return table(head.split("|"), rows)


def loss_times() -> str:
    """Milliseconds on the CPU, and what the GPU's file says."""
    report, rows, notes = gpu_report(), [], []
    on_gpu = report["results"].get("losses", {}).get("problems", {})
    for name, found in results("losses_cpu")["problems"].items():
        ratios = found["fused_is_times_as_fast"]
        rows.append(
            [
                found["title"],
                f"{found['forms']['fused']['ms']:,.0f}",
                _ratio(ratios, "eager"),
                _ratio(ratios, "compiled"),
                _ratio(on_gpu[name]["fused_is_times_as_fast"], "compiled")
                if name in on_gpu
                else NOT_MEASURED,
                number(found["wanted"]["least_speed"], ".1f"),
            ]
        )
        notes += [
            f"\n{found['title']}: `{other}` took {found['forms'][other]['ms']:,.0f} ms and "
            f"{found['forms'][other]['peak_mb']:,.0f} MB; ours was {_ratio(ratios, other)} times "
            "as fast."
            for other in ratios
            if other not in ("eager", "compiled")
        ]
    card = short_name(report["gpu"])
    head = f"loss|ours, ms (CPU)|x as fast as eager|as compiled|as compiled, {card}|wanted"
    return "\n".join([table(head.split("|"), rows), *notes])


def _ratio(ratios: dict[str, Any], form: str) -> str:
    return spread(ratios[form], ".2f") if form in ratios else ""


def _problems() -> list[dict[str, Any]]:
    return list(results("losses_cpu")["problems"].values())
