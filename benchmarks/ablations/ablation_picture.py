"""Draws the ablations' scores, an axis each: `docs/ablations.png` (python docs/make.py ablations).

A point is a cell's mean over its seeds, a bar through it goes from the lowest to the highest; the
dashed line is the untrained encoder. What was not run leaves a gap.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from benchmarks.ablations.ablation import UNTRAINED, Ablation
from benchmarks.ablations.ablation_rows import Length, Rows, rows_of, scores_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2f6db3", "#e9a23b")
INK, FAINT = "#1c1f24", "#70767f"
COLUMNS = 2
LEAST = 2  # cells that make a picture
MOST_LETTERS = 48  # of the places along an axis, before their words stand below each other


def draw_ablations(
    ablations: Sequence[Ablation], rows: Rows, length: Length, path: Path
) -> list[str]:
    """Write the PNG of those that have two scores; their names. Without any there is no file."""
    scored = [(one, scores_of(one, rows, length)) for one in ablations]
    shown = [pair for pair in scored if len(pair[1].keys() - {UNTRAINED}) >= LEAST]
    if not shown:
        return []
    lines = math.ceil(len(shown) / COLUMNS)
    figure = Figure((9, 2.9 * lines + 0.3), dpi=110, layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False).flat
    for (ablation, scores), axes in zip(shown, grid, strict=False):
        _draw(axes, ablation, scores, rows, length)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    figure.suptitle(
        f"{length.set}, {length.epochs:g} epochs: kNN of held-out images, %",
        x=0.01,
        ha="left",
        fontsize=9,
        color=FAINT,
    )
    # No date and no version: the same rows give the same file.
    figure.savefig(path, metadata={"Software": None})
    return [ablation.name for ablation, _ in shown]


def _draw(
    axes: "Axes", ablation: Ablation, scores: dict[str, float], rows: Rows, length: Length
) -> None:
    series = list(dict.fromkeys(cell.series for cell in ablation.cells))
    places = list(dict.fromkeys(cell.at for cell in ablation.cells))
    for name, colour in zip(series, COLOURS, strict=False):
        middle, below, above = [math.nan] * len(places), [0.0] * len(places), [0.0] * len(places)
        for cell in ablation.cells:
            if cell.series != name or cell.label not in scores:
                continue
            x, score = places.index(cell.at), scores[cell.label]
            seeds = [100 * row["knn"] for row in rows_of(cell, rows, length)]
            middle[x], below[x], above[x] = score, score - min(seeds), max(seeds) - score
        style = "-o" if len(series) > 1 or all(place[0].isdigit() for place in places) else "o"
        axes.errorbar(
            range(len(places)),
            middle,
            (below, above),
            fmt=style,
            markersize=5,
            color=colour,
            label=name,
            capsize=2,
        )
    axes.axhline(scores[UNTRAINED], ls="--", lw=1, color=FAINT, label="untrained")
    axes.set_title(ablation.name, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(ablation.across, fontsize=8, color=INK)
    if sum(map(len, places)) > MOST_LETTERS:
        places = [place.replace(" ", "\n") for place in places]
    axes.set_xticks(range(len(places)), places, fontsize=8)
    axes.set_xlim(-0.4, len(places) - 0.6)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=FAINT)
    axes.grid(color="#ecebe6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=7)
