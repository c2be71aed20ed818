"""The panels of curves: loss, rates, scores with labels and measures without."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainer.report.charts import Curve, draw_curves
from trainer.report.markup import Markup, element, joined, percent, plain
from trainer.report.panel import MARKS, Panel, note, prefixed
from trainer.report.run_record import RunRecord

_LABEL_FREE = "label_free_protocol"
# What the measures' papers say; docs/evaluation.md has a study in which some were wrong.
_MORE, _LESS = "more is better, says its paper", "less is better, says its paper"


@dataclass(frozen=True, slots=True)
class _Chart:
    """What one chart shows of each run."""

    name: str  # of the records' number
    title: str
    unit: str = ""
    protocol: str = ""  # of a score
    reference: str = ""  # another number of the records, dashed
    says: str = ""  # how to read it
    in_percent: bool = False
    form: str = ".3g"

    def points(self, run: RunRecord, name: str = "") -> list[tuple[float, float]]:
        name = name or self.name
        return run.score_series(name, self.protocol) if self.protocol else run.series(name)


_LEARNING = (
    _Chart(
        "loss", "Loss", reference="constant_loss", says="dashed: of a constant output", form=".4g"
    ),
    _Chart("lr", "Learning rate"),
    _Chart("momentum", "Teacher's momentum"),
    _Chart("std", "Spread of embeddings", says="1: even on the sphere, 0: one point"),
    _Chart("rank", "Directions in use by embeddings"),
    _Chart("code_entropy", "Entropy of codes", "nat"),
    _Chart("agreement", "Agreement"),
    _Chart("neighbour_cosine", "Cosine to the neighbour"),
)
_SCORES = (
    _Chart("knn", "kNN", "held-out images told rightly", "knn_protocol", in_percent=True),
    _Chart(
        "probe", "Linear probe", "held-out images told rightly", "knn_protocol", in_percent=True
    ),
)
_MEASURES = (
    _Chart("rankme", "RankMe", "directions in use", _LABEL_FREE, "", _MORE, form=".1f"),
    _Chart(
        "alpha_req", "alpha-ReQ", "decay of the spectrum", _LABEL_FREE, "", "0: white", form=".2f"
    ),
    _Chart("lidar", "LiDAR", "directions that tell images", _LABEL_FREE, "", _MORE, form=".1f"),
    _Chart(
        "alignment", "Alignment", "squared distance of views", _LABEL_FREE, "", _LESS, form=".3f"
    ),
    _Chart("uniformity", "Uniformity", "log mean potential", _LABEL_FREE, "", _LESS, form=".2f"),
)


def learning(runs: Sequence[RunRecord]) -> Panel:
    """Loss beside a constant output's, rates and momenta, the state of the embeddings."""
    figures = _figures(runs, _LEARNING)
    left_out = _without_records(runs)
    for i, run in enumerate(runs):
        if run.records and not run.series("constant_loss"):
            text = "The loss of a constant output is not shown: no record has one (this method has "
            text += "none, or an earlier release made the run)."
            left_out.append(prefixed(i, len(runs), text))
    return Panel("learning", "Learning", figures, tuple(left_out))


def scores(runs: Sequence[RunRecord]) -> Panel:
    """The kNN and the probe while training."""
    figures = _figures(runs, _SCORES)
    notes, left_out = [], _without_records(runs)
    for i, run in enumerate(runs):
        if protocol := run.last_text("knn_protocol"):
            notes.append(
                note(prefixed(i, len(runs), f"kNN: {protocol}. Epoch 0 is before training."))
            )
        elif run.records:
            text = (
                "kNN is left out: no labelled held-out images were given; a run with --eval-data "
            )
            left_out.append(prefixed(i, len(runs), text + "LABELLED_SHARDS has it."))
        if run.series("knn") and not run.series("probe"):
            text = "The linear probe is left out: it was not asked for; a run with eval.probe=true "
            left_out.append(prefixed(i, len(runs), text + "has it."))
    return Panel("scores", "Scores with labels", (*figures, *notes), tuple(left_out))


def measures(runs: Sequence[RunRecord]) -> Panel:
    """The five measures that need no label."""
    figures = _figures(runs, _MEASURES)
    notes, left_out = [], _without_records(runs)
    for i, run in enumerate(runs):
        if protocol := run.last_text(_LABEL_FREE):
            text = f"Of {protocol}. None of them is an accuracy; docs/evaluation.md says when each "
            notes.append(note(prefixed(i, len(runs), text + "misleads.")))
        elif run.records:
            text = (
                "RankMe, alpha-ReQ, LiDAR, alignment and uniformity are left out: the run did not "
            )
            text += "measure them; eval.label_free=true does, also with --resume."
            left_out.append(prefixed(i, len(runs), text))
    return Panel("measures", "Measures without labels", (*figures, *notes), tuple(left_out))


def _figures(runs: Sequence[RunRecord], charts: Sequence[_Chart]) -> tuple[Markup, ...]:
    figures = [figure for chart in charts if (figure := _figure(runs, chart)) is not None]
    return (element("div", *figures, class_="charts"),) if figures else ()


def _figure(runs: Sequence[RunRecord], chart: _Chart) -> Markup | None:
    curves, lasts = [], []
    for i, run in enumerate(runs):
        points = chart.points(run)
        if not points:
            continue
        if chart.reference and (beside := chart.points(run, chart.reference)):
            curves.append(Curve(beside, i, is_reference=True))
        curves.append(Curve(points, i))
        lasts.append(_last(points[-1][1], chart, i, len(runs)))
    if not curves:
        return None
    return figure(chart.title, chart.unit, curves, lasts, chart.says, in_percent=chart.in_percent)


def figure(
    title: str,
    unit: str,
    curves: Sequence[Curve],
    lasts: Sequence[Markup],
    says: str = "",
    *,
    in_percent: bool = False,
    from_zero: bool = False,
) -> Markup:
    """A chart under its title, with the last values beside it."""
    below = element("span", "; ".join(filter(None, (unit, says))), class_="unit")
    head = joined(element("span", title, class_="title"), element("span", *lasts, class_="lasts"))
    caption = element("figcaption", head, below)
    chart = draw_curves(curves, title, in_percent=in_percent, from_zero=from_zero)
    return element("figure", caption, chart, data_panel=title)


def last_value(text: str, run: int, num_runs: int) -> Markup:
    """The last value of a curve, in its run's colour."""
    shown = f"{MARKS[run]} {text}" if num_runs > 1 else text
    return element("span", shown, class_=f"last run{run}")


def _last(value: float, chart: _Chart, run: int, num_runs: int) -> Markup:
    form: Callable[[float], str] = percent if chart.in_percent else lambda x: plain(x, chart.form)
    return last_value(form(value), run, num_runs)


def _without_records(runs: Sequence[RunRecord]) -> list[str]:
    return [
        prefixed(i, len(runs), f"No curve: {run.records_problem}.")
        for i, run in enumerate(runs)
        if not run.records
    ]
