"""Curves as SVG that takes its colours from the page: dark or light, and sharp on paper.

Matplotlib draws, with stand-ins for colours that become variables of the page's style. So a chart
needs no script and about 10 kB; a library that draws in the browser brings 1 to 4 MB into each
page. No text that a run brings goes into a chart: names stand beside it.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from trainer.report.markup import Markup

WIDTH_PX, HEIGHT_PX = 440, 230
MOST_POINTS = 400  # of a curve: more are means of neighbours
_TICKS = (1, 2, 2.5, 5, 10)  # between two marks of an axis, times a power of ten
_FEW = 40  # points of a curve from which on none is marked
# What matplotlib draws with, and the page's variable in its place.
_STAND_INS = {
    "ink": "#010203",
    "faint": "#010204",
    "grid": "#010205",
    "run0": "#010206",
    "run1": "#010207",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "font.size": 11.5,
    "axes.linewidth": 0.8,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),
    "axes.unicode_minus": True,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """Points from left to right, in the colour of a run."""

    points: Sequence[tuple[float, float]]
    run: int = 0  # 0 or 1
    is_reference: bool = False  # dashed: what the others are held against


def draw_curves(
    curves: Sequence[Curve],
    title: str,
    *,
    in_percent: bool = False,
    from_zero: bool = False,
) -> Markup:
    """The chart over epochs as an SVG element that is as wide as its place."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    ink, faint, grid = (_STAND_INS[name] for name in ("ink", "faint", "grid"))
    # Clip paths get their names from this: two charts of a page may not share one.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(WIDTH_PX / 72, HEIGHT_PX / 72), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        for curve in curves:
            points = thinned(curve.points)
            axes.plot(
                *zip(*points, strict=True),
                color=_STAND_INS[f"run{curve.run}"],
                linewidth=1.1 if curve.is_reference else 1.7,
                linestyle=(0, (4, 3)) if curve.is_reference else "-",
                marker="o" if len(points) < _FEW and not curve.is_reference else None,
                markersize=3.5,
                solid_capstyle="round",
            )
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(faint)
        axes.grid(axis="y", color=grid, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(x=0.02, y=0.1)
        axes.tick_params(axis="y", length=0, labelcolor=faint)
        axes.tick_params(axis="x", length=3, color=faint, labelcolor=faint)
        axes.set_xlabel("epochs", color=faint)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=_TICKS))
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=_TICKS))
        axes.yaxis.get_offset_text().set_color(ink)
        if from_zero:
            axes.set_ylim(bottom=0)
        if in_percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1, None, "\N{NARROW NO-BREAK SPACE}%"))
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _as_element(file.getvalue(), title)


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS: means of equally many neighbours, the first and the last as they are."""
    if len(points) <= MOST_POINTS:
        return list(points)
    inner, number = points[1:-1], MOST_POINTS - 2
    edges = [len(inner) * i // number for i in range(number + 1)]
    parts = [inner[low:high] for low, high in pairwise(edges)]
    means = [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts
    ]
    return [points[0], *means, points[-1]]


def _as_element(svg: str, title: str) -> Markup:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for name, colour in _STAND_INS.items():
        svg = svg.replace(colour, f"var(--{name})")
    head = (
        f'<svg class="chart" role="img" aria-label="{title}" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}"'
    )
    return Markup(head + svg[svg.index(">") :] if "<svg" in svg else "")
