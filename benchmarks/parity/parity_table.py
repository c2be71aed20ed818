"""Both sides of a method in a line: mean and spread over seeds, and whether they differ by more.

Spread is the highest less the lowest of a side's seeds. Two sides differ when their means are
farther apart than the larger spread of the two; of one seed nothing is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from rich.table import Table

from benchmarks.parity.shared_settings import PAIRS
from shards.terminal.console import table_console

SCORES = ("knn", "linear")
COSTS = ("images_per_s", "data_wait", "wall_s", "cpu_s", "peak_mib")
MARK, ONE_SEED = "differ", "one seed"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a method: its numbers over the seeds that both sides have."""

    means: Mapping[str, float]
    spreads: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Compared:
    """One method on one set, for one length."""

    set: str
    epochs: int
    method: str
    seeds: tuple[int, ...]  # that both sides have
    ours: Side
    lightly: Side

    def verdict(self, score: str) -> str:
        """Whether the two differ in a score by more than the spread."""
        if len(self.seeds) < 2:
            return ONE_SEED
        apart = abs(self.ours.means[score] - self.lightly.means[score])
        return MARK if apart > max(self.ours.spreads[score], self.lightly.spreads[score]) else ""


def compared(rows: Sequence[Mapping[str, Any]]) -> list[Compared]:
    """Every method of which both sides have a seed, in the order of PAIRS."""
    found = []
    for set_, epochs in sorted({(row["set"], row["epochs"]) for row in rows}):
        for method in PAIRS:
            here = [
                r for r in rows if (r["set"], r["epochs"], r["method"]) == (set_, epochs, method)
            ]
            by_side = {
                s: {r["seed"]: r for r in here if r["side"] == s} for s in ("ours", "lightly")
            }
            seeds = tuple(sorted(by_side["ours"].keys() & by_side["lightly"].keys()))
            if seeds:
                sides = [_side([by_side[s][seed] for seed in seeds]) for s in ("ours", "lightly")]
                found.append(Compared(set_, epochs, method, seeds, *sides))
    return found


def alone(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows whose other side is not there."""
    keys = ("set", "epochs", "method", "seed")
    places = [tuple(row[key] for key in keys) for row in rows]
    return [row for row, place in zip(rows, places, strict=True) if places.count(place) == 1]


def not_run(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Methods without a pair of rows."""
    return [method for method in PAIRS if method not in {each.method for each in compared(rows)}]


def print_table(report: Mapping[str, Any]) -> None:
    """What there is, on the terminal."""
    head = ("set", "epochs", "method", "seeds", "side", "kNN", "linear", "img/s", "wait")
    table = Table(*head, "wall s", "CPU s", "MiB")
    for each in compared(report["rows"]):
        start = (each.set, str(each.epochs), each.method, ",".join(map(str, each.seeds)))
        for name, side in (("ours", each.ours), ("lightly", each.lightly)):
            table.add_row(*start, name, *cells(side))
            start = ("",) * 4
        table.add_row(*start, "", *(each.verdict(score) for score in SCORES))
    for row in alone(report["rows"]):
        start = (row["set"], str(row["epochs"]), row["method"], str(row["seed"]))
        table.add_row(*start, f"{row['side']} alone", *cells(_side([row])))
    table_console().print(table)


def print_agreement(agreement: Mapping[str, Mapping[str, Any]]) -> None:
    """How far the losses of one batch are apart, and the encoder's gradients."""
    table = Table("method", "ours", "lightly", "loss error", "gradient error", "convention")
    for method, found in agreement.items():
        errors = (found["loss_error"], found["gradient_error"])
        said = ("no formula" if error is None else f"{error:.0e}" for error in errors)
        values = (f"{found[side]:.6f}" for side in ("ours", "lightly"))
        table.add_row(method, *values, *said, found["convention"])
    table_console().print(table)


def cells(side: Side) -> list[str]:
    """A side's numbers as text."""
    shown = []
    for score in SCORES:
        spread = f" ±{100 * side.spreads[score] / 2:.1f}" if side.spreads[score] else ""
        shown.append(f"{side.means[score]:.1%}{spread}")
    means = side.means
    costs = (f"{means['images_per_s']:.0f}", f"{means['data_wait']:.0%}", f"{means['wall_s']:.0f}")
    return [*shown, *costs, f"{means['cpu_s']:.0f}", f"{means['peak_mib']:.0f}"]


def _side(rows: Sequence[Mapping[str, Any]]) -> Side:
    values = {key: [row[key] for row in rows] for key in (*SCORES, *COSTS)}
    spreads = {key: max(values[key]) - min(values[key]) for key in SCORES}
    return Side({key: mean(value) for key, value in values.items()}, spreads)
