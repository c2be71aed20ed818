"""Draws a profile: where an image's time goes, stage by stage, and how many images a second.

Left, thread-milliseconds an image, stacked by stage; a peer's transform is one block, since it does
not say what is inside. Bars that leave the panel end in a mark with their length; what the consumer
waited stands after the plus. Of `alone` rows it is the calling thread's time, whatever the threads
inside. Right, images a second: median over the rounds, with a line from the lowest to the highest.
"""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augengine.loader.meter import STAGES
from shards.terminal.counted import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "read": "#8d99ae",
    "decode": "#e9a23b",
    "draw": "#7a9e3c",
    "transfer": "#9b6fb5",
    "augment": "#2f6db3",
    "wait": "#e5e3dd",
    "a peer's transform": "#b5544d",
}
OURS_COLOUR, OTHER_COLOUR, INK, FAINT = "#2f6db3", "#b9b7b0", "#1c1f24", "#70767f"
CUT = 1.6  # the left panel ends at so many times our own longest bar
ROW_INCHES = 0.3
GAP_ROWS = 0.5  # between kinds of cases


def draw_profile(report: dict[str, Any], path: Path) -> None:
    """The picture of a report of tools/profiling/profile_report.py, as PNG."""
    from matplotlib.figure import Figure  # not pyplot: no window, no state

    results, workers = report["results"], report["settings"]["workers"]
    rows = _places(list(results))
    figure = Figure((11, 1.6 + ROW_INCHES * rows[-1]), dpi=130, layout="constrained")
    costs, rates = figure.subplots(1, 2, sharey=True, width_ratios=(1.6, 1))
    _draw_costs(costs, results, rows, workers)
    _draw_rates(rates, results, rows)
    costs.set_yticks(rows, list(results))
    costs.set_ylim(rows[-1] + 0.6, -0.6)
    done, settings = report["conditions"], report["settings"]
    figure.suptitle(
        f"{report['policy']}   ·   {report['data']['height_px'][1]}x"
        f"{report['data']['width_px'][1]} px, batch {settings['batch_size']}, "
        f"{counted(workers, 'worker')}\n",
        x=0.01,
        ha="left",
        color=INK,
        fontsize=12,
        parse_math=False,  # a $ in a policy's name is one
    )
    machine = (
        f"{done['cpu']}, {counted(done['cores'], 'core')}, {settings['device']}, {done['date']}"
    )
    figure.text(0.01, 1 - 0.42 / figure.get_figheight(), machine, color=FAINT, fontsize=8)
    for axes in (costs, rates):
        _tidy(axes)
    figure.savefig(path)


def _places(names: list[str]) -> list[float]:
    """The height of each row: kinds of cases stand a gap apart."""
    kinds = [name.split(", ")[0] for name in names]
    places = [0.0]
    for before, kind in pairwise(kinds):
        places.append(places[-1] + 1 + (GAP_ROWS if kind != before else 0))
    return places


def _draw_costs(
    axes: "Axes", results: dict[str, dict[str, Any]], rows: list[float], workers: int
) -> None:
    bars = [_bar_of(row, workers) for row in results.values()]
    totals = [sum(bar.values()) for bar in bars]
    own = [total for name, total in zip(results, totals, strict=True) if name.endswith("fused")]
    limit = min(max(totals), CUT * max(own, default=max(totals)))
    seen = set()
    for y, bar, total in zip(rows, bars, totals, strict=True):
        left = 0.0
        for stage, ms in bar.items():
            label = stage if stage not in seen else None
            axes.barh(y, ms, 0.72, left, color=COLOURS[stage], label=label)
            seen.add(stage)
            left += ms
        is_cut = total > limit
        waits = f" + {bar['wait']:.2f}" if "wait" in bar else ""
        text = f"{total:.1f}  »" if is_cut else f"{total - bar.get('wait', 0):.2f}{waits}"
        place, side = (0.99 * limit, "right") if is_cut else (left + 0.01 * limit, "left")
        colour = "white" if is_cut else FAINT
        axes.text(place, y, text, va="center", ha=side, fontsize=8, color=colour)
    axes.set_xlim(0, 1.08 * limit if limit >= max(totals) else limit)
    axes.set_xlabel("thread-milliseconds an image")
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: list(COLOURS).index(labels[i]))
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(order),
        frameon=False,
        fontsize=8,
        handlelength=1,
        columnspacing=1.2,
    )


def _bar_of(row: dict[str, Any], workers: int) -> dict[str, float]:
    """Stage -> thread-milliseconds an image; a peer works in `workers` processes."""
    stages = {s: ms for s in STAGES if (ms := row["stages_ms_per_image"].get(s))}
    return stages or {"a peer's transform": workers * row["ms_per_image"]}


def _draw_rates(axes: "Axes", results: dict[str, dict[str, Any]], rows: list[float]) -> None:
    highest = max(row["images_per_s_max"] for row in results.values())
    for y, (name, row) in zip(rows, results.items(), strict=True):
        low, middle, high = (row[f"images_per_s{part}"] for part in ("_min", "", "_max"))
        axes.barh(y, middle, 0.72, color=OURS_COLOUR if name.endswith("fused") else OTHER_COLOUR)
        axes.plot([low, high], [y, y], color=INK, linewidth=1)
        ratio = row.get("fused_is_times_as_fast")
        text = f"{middle:,.0f}" + (f"   fused x {ratio['median']:.1f}" if ratio else "")
        axes.text(high + 0.015 * highest, y, text, va="center", fontsize=8, color=FAINT)
    axes.set_xlim(0, 1.3 * highest)
    axes.locator_params("x", nbins=5)
    axes.set_xlabel("images a second")


def _tidy(axes: "Axes") -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.tick_params(axis="x", labelsize=8, colors=FAINT)
    axes.xaxis.label.set_color(FAINT)
    axes.xaxis.label.set_fontsize(8)
    axes.grid(axis="x", color="#ecebe6", linewidth=0.8)
    axes.set_axisbelow(True)
