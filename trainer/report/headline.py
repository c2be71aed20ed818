"""The head of the page: what a run is in a line, and the few numbers that it comes down to."""

from collections.abc import Sequence

from trainer.report.markup import duration, percent, plain
from trainer.report.panel import MARKS, prefixed
from trainer.report.run_record import RunRecord
from trainer.report.time_panel import times_of

Figure = tuple[str, str, str]  # a value, what it is, what to hold against it


def describe(runs: Sequence[RunRecord]) -> str:
    """Method, encoder and data of each."""
    lines = [_line(run) for run in runs]
    if len(lines) > 1:
        lines = [f"{MARKS[i]}: {line}" for i, line in enumerate(lines)]
    return "; ".join(lines)


def headline(runs: Sequence[RunRecord]) -> list[Figure]:
    """Of each run its last score, its loss, its speed, its time; what is not known is left out."""
    return [
        (value, prefixed(i, len(runs), what), beside)
        for i, run in enumerate(runs)
        for value, what, beside in _figures(run)
    ]


def _figures(run: RunRecord) -> list[Figure]:
    figures = []
    if knn := run.score_series("knn", "knn_protocol"):
        before = [value for epoch, value in knn if epoch == 0]
        beside = f"{percent(before[0])} before training" if before else ""
        figures.append((percent(knn[-1][1]), f"kNN after {knn[-1][0]:.3g} epochs", beside))
    if probe := run.score_series("probe", "knn_protocol"):
        before = [value for epoch, value in probe if epoch == 0]
        beside = f"{percent(before[0])} before training" if before else ""
        figures.append((percent(probe[-1][1]), "linear probe", beside))
    if loss := run.series("loss"):
        constant = run.series("constant_loss")
        beside = f"{plain(constant[-1][1])} of a constant output" if constant else ""
        figures.append((plain(loss[-1][1]), "loss", beside))
    if times := times_of(run):
        beside = f"{percent(times.training / times.total)} of it training" if times.total else ""
        figures.append((duration(times.total), "in all", beside))
    return figures


def _line(run: RunRecord) -> str:
    method, arch, data = (
        run.keys.get(key, "") for key in ("method.name", "backbone.arch", "data.train")
    )
    parts = [method, arch, f"on {data}" if data else ""]
    return ", ".join(filter(None, parts))
