"""An ablation: what a paper found, the runs that ask again, and when its finding holds here.

A file a paper has the ablations themselves, `ablation_table.py` names them all. A claim says what
would have to be so among the scores of the ablation's cells; `judged` decides it from them alone.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

# kNN scores of the cells in per cent by label, and the untrained encoder's.
Scores = Mapping[str, float]
UNTRAINED = "untrained"
# Points below which a difference says nothing. Two scores of 40 % of 10,000 images differ by 1.4 in
# one of twenty comparisons by their test images alone; the seed of a run comes to it.
CHANCE = 2.0


# Typed in every cell, by this word or another: rows of two optimizers do not compare, and which of
# them the fitted rule takes may change between two rows.
MUON = "optim.name=muon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A run of an ablation: a point of its picture."""

    series: str  # the line that the point is on
    at: str  # its place along the line
    words: tuple[str, ...]  # after `python -m trainer.run`, without sets, length and seed

    @property
    def label(self) -> str:
        """The cell's name in its ablation."""
        return f"{self.series}, {self.at}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence about the cells, and by how many points they are on its side."""

    text: str
    margin: Callable[[Scores], float]  # negative: against it


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """What is taken away or turned, and what a paper says comes of it."""

    name: str
    question: str
    source: str  # authors, year, number, table or figure
    finding: str  # the paper's, with its numbers
    unlike: str  # how the runs here differ from the paper's, besides their size
    across: str  # what the cells of a line differ in
    cells: tuple[Cell, ...]
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim and the outcome: holds, fails, or undecided within CHANCE."""

    claim: Claim
    margin: float | None  # None: cells that it compares lack

    @property
    def outcome(self) -> str:
        """In a word."""
        if self.margin is None:
            return "not run"
        if abs(self.margin) < CHANCE:
            return "undecided"
        return "holds" if self.margin > 0 else "fails"

    def __str__(self) -> str:
        points = "" if self.margin is None else f" ({self.margin:+.1f} points)"
        return f"{self.outcome}{points}: {self.claim.text}"


def judged(ablation: Ablation, scores: Scores) -> list[Verdict]:
    """Every claim of an ablation; none is decided before the cells it compares have a score."""
    labels = {UNTRAINED, *(cell.label for cell in ablation.cells)}
    return [Verdict(claim, _margin(claim, scores, labels)) for claim in ablation.claims]


def _margin(claim: Claim, scores: Scores, labels: Collection[str]) -> float | None:
    """None where a cell lacks; a label that no cell has is a mistake of the claim's."""
    try:
        return claim.margin(scores)
    except KeyError as error:
        if error.args[0] not in labels:
            raise
        return None


def loses(scores: Scores, whole: str, part: str) -> float:
    """How many points the cell `part` is below the cell `whole`."""
    return scores[whole] - scores[part]


def keeps_half(scores: Scores, whole: str, part: str) -> float:
    """How many points `part` is above the half of what `whole` gained over the untrained one."""
    return scores[part] - (scores[whole] + scores[UNTRAINED]) / 2


def spread(scores: Scores, *labels: str) -> float:
    """From the lowest to the highest of these cells, in points."""
    chosen = [scores[label] for label in labels]
    return max(chosen) - min(chosen)
