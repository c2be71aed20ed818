"""The figures of performance.md: the CPU's here, the GPU's and the losses' in files beside this."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from make import DOCS, results, spread, table
from of_decoders import decoder_conditions, decoder_times
from of_gpu import byte_bound, gpu_targets
from of_losses import loss_conditions, loss_memory, loss_times

from tools.profiling.profile_picture import draw_profile

TITLES = {
    "swav": "SwAV, 2x224 + 6x96 px",
    "byol": "BYOL, 2x224 px, bicubic crops as published",
    "byol bilinear": "BYOL, 2x224 px, bilinear crops as lightly's",
    "tiny": "2 views of 32x32 px images, batch 256",
}
CAMERA_TITLES = {
    "swav camera": "SwAV, 2x224 + 6x96 px, of photographs",
    "swav": "the same of cuts of 500x375 px",
    "byol camera": "BYOL, 2x224 px, of photographs",
    "byol": "the same of cuts of 500x375 px",
    "small": "2 views of 64x64 px JPEGs, batch 256",
}
PICTURED = {"swav": "profile-swav.png", "byol": "profile-byol.png"}


def draw_pictures() -> None:
    """One picture a workload, of the run with most threads."""
    report = results("fused_cpu")
    threads = max(report["threads"], key=int)
    settings = {"batch_size": report["settings"]["batch_size"]["photographs"]}
    settings |= {"workers": int(threads), "device": "cpu"}
    for name, file in PICTURED.items():
        one = {
            "results": report["threads"][threads]["workloads"][name],
            "policy": TITLES[name],
            "data": report["data"]["photographs"],
            "conditions": report["conditions"],
            "settings": settings,
        }
        draw_profile(one, DOCS / file)


def _conditions() -> str:
    report = results("fused_cpu")
    done, data, settings = report["conditions"], report["data"]["photographs"], report["settings"]
    ours, peers = (
        ", ".join(f"{name} {version}" for name, version in versions.items())
        for versions in (done["versions"], report["peers"]["versions"])
    )
    return (
        f"- {done['cores']} cores of an {done['cpu']}, {done['system']}, load average "
        f"{done['load_average_1min']} at the start; {done['date']}, commit {done['commit']}.\n"
        f"- Ours: Python {done['python']}, {ours}. Peers, in their own environment: {peers}.\n"
        f"- {data['images']} JPEGs cut from photographs, {data['width_px'][1]}x"
        f"{data['height_px'][1]} px, {data['mean_bytes'] / 1024:.0f} KiB on average, batch "
        f"{settings['batch_size']['photographs']}; {settings['rounds']} rounds, "
        f"{settings['seconds_per_row']:g} s a row."
    )


def _by_threads() -> dict[str, Any]:
    return results("fused_cpu")["threads"]


def targets() -> str:
    """The figures wanted of fused, and those it reached; bold where it misses."""
    report = _by_threads()
    head = ["fused is so many times as fast as", "wanted"]
    for threads in report:
        head += [_threads(threads), "CPU time"]
    lines = []
    for rows in zip(*(found["targets"] for found in report.values()), strict=True):
        workload, (kind, who) = _split(rows[0]["ours"])[0], _split(rows[0]["theirs"])[1:]
        line = [f"{TITLES[workload]}: {who}, {kind}", f"{rows[0]['target']:g}"]
        for found, row in zip(report.values(), rows, strict=True):
            median, rest = spread(row, ".1f").split(" ", 1)
            bold = f"**{median}**" if row["median"] < row["target"] else median
            line += [f"{bold} {rest}", f"{_cpu_ratio(found, row):.1f}"]
        lines.append(line)
    return table(head, lines)


def _split(name: str) -> tuple[str, str, str]:
    """Workload, kind and who of `swav: from bytes, fused`."""
    workload, case = name.split(": ")
    kind, who = case.split(", ")
    return workload, kind, who


def _row_of(found: dict[str, Any], name: str) -> dict[str, Any]:
    workload, case = name.split(": ")
    return found["workloads"][workload][case]


def _cpu_ratio(found: dict[str, Any], row: dict[str, Any]) -> float:
    theirs, ours = _row_of(found, row["theirs"]), _row_of(found, row["ours"])
    return theirs["cpu_ms_per_image"] / ours["cpu_ms_per_image"]


def missed() -> str:
    """One paragraph a miss: the profile that says why, and what could be reached at most."""
    paragraphs = [
        _why(threads, found, row)
        for threads, found in _by_threads().items()
        for row in found["targets"]
        if row["median"] < row["target"]
    ]
    return "\n".join(paragraphs) or "None is missed in this run."


def _why(threads: str, found: dict[str, Any], row: dict[str, Any]) -> str:
    ours, theirs = _row_of(found, row["ours"]), _row_of(found, row["theirs"])
    stages = {k: v for k, v in ours["stages_ms_per_image"].items() if k != "wait"}
    total = sum(stages.values())
    shares = ", ".join(f"{name} {ms:.2f} ({ms / total:.0%})" for name, ms in stages.items())
    limit = int(threads) * theirs["ms_per_image"] / stages.get("decode", total)
    return (
        f"- {row['ours']} against {_split(row['theirs'])[2]}, {_threads(threads)}: "
        f"{row['median']:.1f} of {row['target']:g}. Thread-milliseconds an image: {shares}. Both "
        f"sides decode; views that cost nothing would give {limit:.1f}. In CPU time, which other "
        f"load on the machine hardly moves: {_cpu_ratio(found, row):.1f}."
    )


def _tables(name_of_results: str, titles: dict[str, str]) -> str:
    report, tables = results(name_of_results)["threads"], []
    for name, title in titles.items():
        head, lines = [title], []
        for threads in report:
            head += [f"{_threads(threads)}: img/s", "x", "CPU ms"]
        for case in next(iter(report.values()))["workloads"][name]:
            rows = [found["workloads"][name][case] for found in report.values()]
            lines.append([case, *(cell for row in rows for cell in _cells(row))])
        tables.append(table(head, lines))
    return "\n\n".join(tables)


def _photographs() -> str:
    report = results("camera_cpu")
    done, settings, data = report["conditions"], report["settings"], report["data"]
    photographs, cuts = (data[name]["mean_bytes"] / 1024 for name in ("camera", "photographs"))
    return (
        f"{data['camera']['images']} photographs of {photographs:.0f} KiB on average beside cuts "
        f"of {cuts:.0f} KiB, in turns: {settings['rounds']} rounds, "
        f"{settings['seconds_per_row']:g} s a row; load average {done['load_average_1min']} at "
        f"the start, {done['date']}, commit {done['commit']} "
        "([camera_cpu.json](../benchmarks/results/camera_cpu.json)).\n\n"
        + _tables("camera_cpu", CAMERA_TITLES)
    )


def _cells(row: dict[str, Any]) -> tuple[str, str, str]:
    ratio = row.get("fused_is_times_as_fast")
    low, high = row["images_per_s_min"], row["images_per_s_max"]
    rates = f"{row['images_per_s']:,.0f} ({low:,.0f} to {high:,.0f})"
    return rates, spread(ratio, ".1f") if ratio else "", f"{row['cpu_ms_per_image']:.2f}"


def _growth() -> str:
    report = results("growth")
    done, sweeps = report["conditions"], report["sweeps"]
    local, batch = sweeps["local crops"], sweeps["batch size"]
    pixels, side = sweeps["image, megapixels"], sweeps["crop side, px (2 views)"]
    crop, start = line(local, 1, "from pixels")
    per_pixel, rest = line(side, 1, "from pixels", power=2)
    decoded, _ = line(pixels, 1, "from bytes")
    small, large = (_at(batch, x, 1, "from pixels")["ms_per_image"] for x in (1, 64))
    gain = [
        _at(local, 6, 2, kind)["images_per_s"] / _at(local, 6, 1, kind)["images_per_s"]
        for kind in ("from pixels", "from bytes")
    ]
    return (
        f"Load average {done['load_average_1min']} at the start, {done['date']}, commit "
        f"{done['commit']}. Straight lines through the medians, one thread:\n\n"
        f"- a local crop of 96 px costs {crop:.3f} ms, two global ones of 224 px {start:.2f} "
        "ms (from pixels);\n"
        f"- a view costs {1e6 * per_pixel / 2:.1f} ns for each pixel it has, and "
        f"{rest / 2:.2f} ms besides (2 views of one size, from pixels);\n"
        f"- a megapixel of source costs {decoded:.1f} ms (2+6, from bytes): decoding, and "
        "larger windows;\n"
        f"- an image of a batch of 1 costs {small:.2f} ms, of a batch of 64 {large:.2f} ms "
        "(from pixels): drawing a plan has a cost of its own;\n"
        f"- a second thread makes 2+6 views {gain[0]:.2f} times as fast from pixels and "
        f"{gain[1]:.2f} times from bytes."
    )


def line(
    rows: list[dict[str, Any]], threads: int, kind: str, power: int = 1
) -> tuple[float, float]:
    """Slope and intercept of ms an image over x ** power."""
    chosen = [row for row in rows if (row["threads"], row["kind"]) == (threads, kind)]
    xs = np.array([row["x"] for row in chosen], float) ** power
    slope, intercept = np.polyfit(xs, [row["ms_per_image"] for row in chosen], 1)
    return float(slope), float(intercept)


def _at(rows: list[dict[str, Any]], x: float, threads: int, kind: str) -> dict[str, Any]:
    return next(r for r in rows if (r["x"], r["threads"], r["kind"]) == (x, threads, kind))


def _threads(number: str) -> str:
    return "1 thread" if number == "1" else f"{number} threads"


BLOCKS: dict[str, Callable[[], str]] = {
    "conditions": _conditions,
    "targets": targets,
    "missed": missed,
    "tables": partial(_tables, "fused_cpu", TITLES),
    "photographs": _photographs,
    "growth": _growth,
    "decoder conditions": decoder_conditions,
    "decoder times": decoder_times,
    "byte bound": byte_bound,
    "GPU targets": gpu_targets,
    "loss conditions": loss_conditions,
    "loss memory": loss_memory,
    "loss times": loss_times,
}
