"""Rows become scores: means over the same seeds, of one set and one length."""

from typing import Any

import pytest
from PIL import Image

from benchmarks.ablations.ablation import UNTRAINED
from benchmarks.ablations.ablation_picture import draw_ablations
from benchmarks.ablations.ablation_rows import Length, key_of, lengths_of, rows_of, scores_of
from benchmarks.ablations.ablation_table import ABLATIONS

HERE, THERE = Length("a", 6.0), Length("b", 6.0)
SIMSIAM = ABLATIONS["simsiam"]


def row(number: int, knn: float, length: Length = HERE, seed: int = 0) -> dict[str, Any]:
    """Of the numbered cell of the ablation."""
    key = key_of(SIMSIAM.cells[number], length, seed)
    return key | {"knn": knn, "random_knn": 0.2 + seed / 10, "std": 1.0}


def test_scores_are_means_over_seeds() -> None:
    """In per cent; the untrained encoder's too, over all runs."""
    rows = [row(0, 0.4), row(0, 0.5, seed=1), row(1, 0.2), row(1, 0.3, seed=1)]
    scores = scores_of(SIMSIAM, rows, HERE)
    expected = {"SimSiam, whole": 45.0, "SimSiam, no stop-gradient": 25.0, UNTRAINED: 25.0}
    assert scores == pytest.approx(expected)


def test_a_cell_with_fewer_seeds_has_no_score() -> None:
    """A mean over one seed does not stand beside one over two."""
    rows = [row(0, 0.4), row(0, 0.5, seed=1), row(1, 0.2)]
    assert set(scores_of(SIMSIAM, rows, HERE)) == {"SimSiam, whole", UNTRAINED}
    assert len(rows_of(SIMSIAM.cells[1], rows, HERE)) == 1


def test_sets_and_lengths_stay_apart() -> None:
    """Rows of another set, another length or other words are not of the cell."""
    longer, other = row(0, 0.9, Length("a", 12.0)), row(0, 0.1) | {"cell": "--method byol"}
    rows = [row(0, 0.4), row(0, 0.7, THERE), longer, other]
    assert scores_of(SIMSIAM, rows, HERE)["SimSiam, whole"] == pytest.approx(40)
    assert lengths_of([SIMSIAM], rows) == [HERE, Length("a", 12.0), THERE]
    assert lengths_of([ABLATIONS["moco-queue"]], rows) == []
    assert scores_of(ABLATIONS["moco-queue"], rows, HERE) == {}


def test_the_picture_has_what_was_run(tmp_path) -> None:
    """An axis an ablation that has two scores, gaps and all; the same rows give the same bytes.

    SimSiam as it is has a place in those of its terms too, which one point does not show.
    """
    rows = [row(0, 0.4), row(2, 0.2)]
    names = ["simsiam"]
    files = [tmp_path / "one.png", tmp_path / "two.png"]
    for file in files:
        assert draw_ablations([*ABLATIONS.values()], rows, HERE, file) == names
    assert files[0].read_bytes() == files[1].read_bytes()
    with Image.open(files[0]) as picture:
        assert picture.size[0] > 900
    for few, where in ((rows, THERE), (rows[:1], HERE)):
        assert draw_ablations([*ABLATIONS.values()], few, where, tmp_path / "none.png") == []
    assert not (tmp_path / "none.png").exists()
