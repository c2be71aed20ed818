"""Mean, spread and mark of two sides over their common seeds."""

from typing import Any

import pytest

from benchmarks.parity.parity_table import MARK, ONE_SEED, alone, compared, not_run, print_table
from benchmarks.parity.shared_settings import PAIRS


def row(side: str, seed: int, knn: float, method: str = "simclr", **more: Any) -> dict[str, Any]:
    costs = {"images_per_s": 10.0, "data_wait": 0.1, "wall_s": 2.0, "cpu_s": 3.0, "peak_mib": 4.0}
    where = {"set": "c10", "epochs": 4, "method": method, "seed": seed, "side": side}
    return where | {"knn": knn, "linear": 0.5} | costs | more


def test_sides_that_differ_by_more_than_the_spread_are_marked() -> None:
    """The larger spread of the two counts: 0.025 apart, beyond 0.02 and within 0.05, is no mark."""
    theirs = [row("lightly", 0, 0.40), row("lightly", 1, 0.42)]
    (far,) = compared([row("ours", 0, 0.45), row("ours", 1, 0.46), *theirs])
    assert far.ours.means["knn"] == pytest.approx(0.455)
    assert far.lightly.spreads["knn"] == pytest.approx(0.02)
    assert far.verdict("knn") == MARK
    assert far.verdict("linear") == ""
    (near,) = compared([row("ours", 0, 0.41), row("ours", 1, 0.46), *theirs])
    assert near.verdict("knn") == ""


def test_only_seeds_of_both_sides_are_compared() -> None:
    """Of one common seed nothing is said; a side without the other stands alone."""
    rows = [row("ours", 0, 0.1), row("ours", 1, 0.9), row("lightly", 0, 0.2)]
    rows.append(row("ours", 0, 0.3, "byol"))
    (found,) = compared(rows)
    assert found.seeds == (0,)
    assert found.ours.means["knn"] == 0.1
    assert found.verdict("knn") == ONE_SEED
    assert [(r["method"], r["seed"]) for r in alone(rows)] == [("simclr", 1), ("byol", 0)]
    assert not_run(rows) == [name for name in PAIRS if name != "simclr"]


def test_sets_and_lengths_are_never_mixed() -> None:
    """A run of another set or length is another row."""
    rows = [row("ours", 0, 0.1), row("lightly", 0, 0.2, epochs=6), row("lightly", 0, 0.3, set="b")]
    assert compared(rows) == []
    assert len(alone(rows)) == 3


def test_the_table_prints_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    """Scores with half their spread, costs, and what is said of the two."""
    rows = [
        row(side, seed, knn) for side, knn in (("ours", 0.5), ("lightly", 0.4)) for seed in (0, 1)
    ]
    rows[0]["knn"] = 0.54
    print_table({"rows": rows})
    said = capsys.readouterr().out
    assert "52.0% ±2.0" in said
    assert "40.0%" in said
    assert MARK in said
