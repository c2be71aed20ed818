"""Draws benchmarks/results/growth.json as docs/growth.png.

    python -m benchmarks.augment.growth_picture

A column a curve; above, images a second, below, milliseconds an image. The band around a line goes
from the lowest to the highest round.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).parents[2]
COLOURS = {"from pixels": "#2f6db3", "from bytes": "#e9a23b"}
STYLES = {1: "--", 2: "-"}
INK, FAINT = "#1c1f24", "#70767f"
LOG_FROM = 32  # an axis whose ends differ by more is drawn in powers


def draw_growth(report: dict[str, Any], path: Path) -> None:
    """The picture of a report of growth.py, as PNG."""
    sweeps = report["sweeps"]
    figure = Figure((3.3 * len(sweeps) + 0.4, 6), dpi=110, layout="constrained")
    grid = figure.subplots(2, len(sweeps), squeeze=False)
    for column, (name, rows) in enumerate(sweeps.items()):
        _draw(grid[0][column], rows, lambda rate: rate)
        _draw(grid[1][column], rows, lambda rate: 1e3 / rate)
        for axes in grid[:, column]:
            _tidy(axes, [row["x"] for row in rows])
        grid[1][column].set_xlabel(name, color=INK)
    grid[0][0].set_ylabel("images a second", color=INK)
    grid[1][0].set_ylabel("milliseconds an image", color=INK)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=8
    )
    done = report["conditions"]
    figure.suptitle(
        f"fused, {done['cpu']}, {done['cores']} cores, {done['date']}",
        x=0.01,
        ha="left",
        fontsize=9,
        color=FAINT,
    )
    figure.savefig(path)


def _draw(axes: "Axes", rows: list[dict[str, Any]], value: Any) -> None:
    for kind, colour in COLOURS.items():
        for threads, style in STYLES.items():
            line = [row for row in rows if (row["kind"], row["threads"]) == (kind, threads)]
            xs = [row["x"] for row in line]
            middle, low, high = (
                [value(row[f"images_per_s{part}"]) for row in line] for part in ("", "_min", "_max")
            )
            label = f"{kind}, {threads} thread{'s' if threads > 1 else ''}"
            axes.plot(xs, middle, style, marker="o", markersize=3, color=colour, label=label)
            axes.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)


def _tidy(axes: "Axes", xs: list[float]) -> None:
    positive = [x for x in xs if x > 0]
    if min(xs) > 0 and max(positive) > LOG_FROM * min(positive):
        axes.set_xscale("log", base=2)
        ticks = sorted(set(xs))
        axes.set_xticks(ticks, [f"{x:g}" if x >= 1 else f"{x:.2f}" for x in ticks])
        axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=FAINT)
    axes.grid(color="#ecebe6", linewidth=0.8)
    axes.set_axisbelow(True)


if __name__ == "__main__":
    found = json.loads((ROOT / "benchmarks/results/growth.json").read_text(encoding="utf-8"))
    draw_growth(found, ROOT / "docs/growth.png")
