"""The panel of where the time went: shares of the whole, and the speed while training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.report.charts import Curve
from trainer.report.curve_panels import figure, last_value
from trainer.report.markup import SPACE, Markup, duration, element, joined, percent
from trainer.report.panel import Panel, mark, note, prefixed
from trainer.report.run_record import RunRecord, number

_SPEED = (
    ("images_per_s", "Speed", "images/s", 1.0),
    ("peak_memory_mib", "Most memory", "GiB", 1024.0),
)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of a run, over all its starts."""

    total: float
    training: float  # without the waits
    waiting: float  # for data, while training
    knn: float
    probe: float
    label_free: float

    def parts(self) -> tuple[tuple[str, float], ...]:
        """What took time, and how long."""
        return (
            ("training", self.training),
            ("waiting for data", self.waiting),
            ("kNN", self.knn),
            ("linear probe", self.probe),
            ("measures without labels", self.label_free),
        )


def times_of(run: RunRecord) -> Times | None:
    """The times by the records: seconds up to each, those of scores, shares of waiting.

    None without a record. A probe's seconds are within those of its kNN.
    """
    ends = [(time, r) for r in run.records if (time := number(r, "time_s")) is not None]
    if not ends:
        return None
    total = max(time for time, _ in ends)
    probe = _sum(run.records, "probe_s")
    knn, label_free = _sum(run.records, "eval_s") - probe, _sum(run.records, "label_free_s")
    waits, seconds, before = 0.0, 0.0, 0.0
    for time, record in ends:
        share = number(record, "data_wait")
        if share is not None:
            waits += share * max(0.0, time - before)
            seconds += max(0.0, time - before)
        before = time
    training = max(0.0, total - knn - probe - label_free)
    waiting = training * waits / seconds if seconds else 0.0
    return Times(total, training - waiting, waiting, knn, probe, label_free)


def where_time_went(runs: Sequence[RunRecord]) -> Panel:
    """A bar of shares a run, then speed and memory."""
    bars, left_out = [], []
    for i, run in enumerate(runs):
        times = times_of(run)
        if times is None or not times.total:
            why = run.records_problem or "no record has time_s; an earlier release made the run"
            left_out.append(prefixed(i, len(runs), f"No times: {why}."))
        else:
            bars.append(_bar(times, i, len(runs)))
    charts = [chart for row in _SPEED if (chart := _speed(runs, *row)) is not None]
    parts = [element("div", *bars, class_="bars", data_panel="time")] if bars else []
    if bars:
        text = "Over all starts; training includes writing checkpoints. Waiting is the loader's."
        parts.append(note(text))
    parts += [element("div", *charts, class_="charts")] if charts else []
    return Panel("time", "Where time went", tuple(parts), tuple(left_out))


def _bar(times: Times, run: int, num_runs: int) -> Markup:
    spent = [(i, *part) for i, part in enumerate(times.parts()) if part[1] > 0]
    pieces = [
        element(
            "span", class_=f"piece part{i}", style=f"width:{100 * s / times.total:.3f}%",
            title=f"{name} {duration(s)}",
        )
        for i, name, s in spent
    ]  # fmt: skip
    rows = [
        element(
            "tr",
            element("td", element("span", class_=f"chip part{i}"), SPACE, name),
            element("td", duration(s), class_="number"),
            element("td", percent(s / times.total), class_="number"),
        )
        for i, name, s in spent
    ]
    whole = element(
        "tr",
        element("td", "together"),
        element("td", duration(times.total), class_="number"),
        element("td", "", class_="number"),
        class_="whole",
    )
    head = element("h3", mark(run)) if num_runs > 1 else Markup("")
    bar = element("div", *pieces, class_="bar")
    return element("div", joined(head, bar, element("table", *rows, whole)), class_="column")


def _speed(
    runs: Sequence[RunRecord], name: str, title: str, unit: str, scale: float
) -> Markup | None:
    curves, lasts = [], []
    for i, run in enumerate(runs):
        points = [(epoch, value / scale) for epoch, value in run.series(name)]
        if points:
            curves.append(Curve(points, i))
            middle = sorted(value for _, value in points)[len(points) // 2]
            shown = f"median {middle:.0f}" if scale == 1 else f"{points[-1][1]:.2f}"
            lasts.append(last_value(shown, i, len(runs)))
    return figure(title, unit, curves, lasts, from_zero=True) if curves else None


def _sum(records: Sequence[Mapping[str, object]], name: str) -> float:
    return sum(value for r in records if (value := number(r, name)) is not None)
