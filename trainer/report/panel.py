"""A panel of the page: a heading, what it shows, and what it would show if there were more."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.report.markup import SPACE, Markup, element, joined

MARKS = ("A", "B")


@dataclass(frozen=True, slots=True)
class Panel:
    """One part of the page."""

    id: str
    title: str
    parts: tuple[Markup, ...]  # empty: there is only what is left out
    left_out: tuple[str, ...] = ()  # sentences: what is not shown, why, and what would show it

    def markup(self) -> Markup:
        """The panel as a section."""
        missing = [element("p", text, class_="absent") for text in dict.fromkeys(self.left_out)]
        return element("section", element("h2", self.title), *self.parts, *missing, id=self.id)


def note(text: str) -> Markup:
    """A sentence below what it explains."""
    return element("p", text, class_="note")


def mark(run: int) -> Markup:
    """The letter of one of two runs, on its colour."""
    return element("span", MARKS[run], class_=f"mark run{run}")


def side_by_side(parts: Sequence[Markup | None], names: Sequence[str]) -> Markup:
    """What each run has, a column each where there are two."""
    if len(parts) == 1:
        return parts[0] or Markup("")
    columns = [
        element("div", element("h3", mark(run), SPACE, names[run]), part, class_="column")
        for run, part in enumerate(parts)
        if part
    ]
    return element("div", *columns, class_="columns")


def prefixed(run: int, num_runs: int, text: str) -> str:
    """A sentence, headed by the run's letter where there are two."""
    return f"{MARKS[run]}: {text}" if num_runs > 1 else text


def definitions(rows: Sequence[tuple[str, str]]) -> Markup:
    """Names and what they stand for."""
    pairs = [joined(element("dt", name), element("dd", value)) for name, value in rows if value]
    return element("dl", *pairs, class_="facts")
