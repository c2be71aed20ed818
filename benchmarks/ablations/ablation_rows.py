"""From the rows of the results to the scores of an ablation's cells.

A row is one run: set, epochs, seed and words tell it, so that two ablations may share a cell.
"""

import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.ablations.ablation import UNTRAINED, Ablation, Cell

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, order=True)
class Length:
    """Rows of one set and one number of epochs compare."""

    set: str
    epochs: float


def key_of(cell: Cell, length: Length, seed: int) -> dict[str, Any]:
    """The values that tell a row from the others."""
    told = {"set": length.set, "epochs": length.epochs, "seed": seed}
    return told | {"cell": shlex.join(cell.words)}


def rows_of(cell: Cell, rows: Rows, length: Length) -> Rows:
    """A cell's runs, a seed each."""
    return [row for row in rows if key_of(cell, length, row["seed"]).items() <= row.items()]


def lengths_of(ablations: Iterable[Ablation], rows: Rows) -> list[Length]:
    """The sets and epochs of which any of these ablations has a row."""
    words = {shlex.join(cell.words) for ablation in ablations for cell in ablation.cells}
    return sorted({Length(row["set"], row["epochs"]) for row in rows if row["cell"] in words})


def scores_of(ablation: Ablation, rows: Rows, length: Length) -> dict[str, float]:
    """Mean kNN in per cent of each cell that has a run, and of the untrained encoder.

    A cell with fewer seeds than another is none: their means would not compare.
    """
    by_cell = {cell.label: rows_of(cell, rows, length) for cell in ablation.cells}
    seeds = {row["seed"] for found in by_cell.values() for row in found}
    whole = {c: found for c, found in by_cell.items() if {row["seed"] for row in found} == seeds}
    scores = {label: _mean(found, "knn") for label, found in whole.items() if found}
    if scores:
        everyone = [row for found in whole.values() for row in found]
        scores[UNTRAINED] = _mean(everyone, "random_knn")
    return scores


def _mean(rows: Iterable[Mapping[str, Any]], key: str) -> float:
    return 100 * statistics.fmean(row[key] for row in rows)
