"""The panels of what fared badly: worst and best classes, bad samples, warnings."""

from collections.abc import Sequence

from shards.terminal.counted import counted
from trainer.report.held_out import ClassScore, HeldOut
from trainer.report.markup import Markup, element, joined, percent, table
from trainer.report.panel import Panel, note, prefixed, side_by_side
from trainer.report.run_record import RunRecord, number

MOST_CLASSES = 16  # of more, the best and the worst half of so many
MOST_ROWS = 30  # of bad samples and warnings


def classes_panel(found: Sequence[HeldOut | str], names: Sequence[str]) -> Panel:
    """The share of each class that kNN tells rightly, the best first."""
    parts, notes, left_out = [], [], []
    for i, held_out in enumerate(found):
        why = held_out if isinstance(held_out, str) else held_out.no_labels
        if isinstance(held_out, str) or held_out.knn is None:
            left_out.append(prefixed(i, len(found), f"The classes are left out: {why}"))
            parts.append(None)
            continue
        parts.append(_classes(held_out.classes))
        text = f"kNN with k = {held_out.k} of {counted(held_out.num_held_out, 'held-out image')}, "
        text += f"{held_out.num_voting:,} vote: {percent(held_out.knn)} told rightly at step "
        text += f"{held_out.step:,}."
        if held_out.num_unread:
            text += f" {counted(held_out.num_unread, 'image')} could not be read, so left out."
        notes.append(note(prefixed(i, len(found), text)))
    body = (side_by_side(parts, names), *notes) if any(parts) else ()
    return Panel("classes", "Best and worst classes", body, tuple(left_out))


def problems_panel(runs: Sequence[RunRecord]) -> Panel:
    """Warnings of the run, and the samples that it could not use."""
    names = [run.name for run in runs]
    parts = [_problems(run) for run in runs]
    return Panel("problems", "Warnings and bad samples", (side_by_side(parts, names),))


def _classes(classes: Sequence[ClassScore]) -> Markup:
    half = MOST_CLASSES // 2
    groups = [classes]
    if len(classes) > MOST_CLASSES:
        groups = [classes[:half], classes[-half:]]
    tables = []
    for i, group in enumerate(groups):
        if len(groups) > 1:
            tables.append(element("h4", f"The {('best', 'worst')[i]} {half} of {len(classes):,}"))
        rows = [
            (
                score.name,
                f"{score.num_images:,}",
                _bar(score.accuracy),
                percent(score.accuracy),
                score.mistaken_for,
                percent(score.mistaken_share) if score.mistaken_for else "",
            )
            for score in group
        ]
        head = ("class", "images", "", "told rightly", "mostly taken for", "of its images")
        tables.append(table(head, rows, (1, 3, 5)))
    return element("div", *tables, class_="classes")


def _bar(share: float) -> Markup:
    return element("span", element("span", style=f"width:{100 * share:.1f}%"), class_="level")


def _problems(run: RunRecord) -> Markup:
    said = [
        (
            f"{step:,.0f}" if (step := number(record, "step")) is not None else "",
            str(record["warning"]),
        )
        for record in run.records
        if "warning" in record
    ]
    bad = [
        tuple(_in_words(line.get(name)) for name in ("data", "id", "key", "reason"))
        for line in run.bad
    ]
    return joined(
        _heading(len(said), "warnings", "No warning was written down."),
        _rows(("step", "warning"), said, (0,)),
        _heading(len(bad), "bad samples", "No bad sample was met."),
        _rows(("set", "sample", "key", "reason"), bad, (1,)),
    )


def _heading(number: int, what: str, none: str) -> Markup:
    return element("h4", f"{number:,} {what}") if number else element("p", none, class_="none")


def _rows(head: tuple[str, ...], rows: list, numbers: tuple[int, ...]) -> Markup:
    if not rows:
        return Markup("")
    more = len(rows) - MOST_ROWS
    after = note(f"and {more:,} more, in the run's folder") if more > 0 else Markup("")
    return joined(table(head, rows[:MOST_ROWS], numbers), after)


def _in_words(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
