"""The study's tables from points whose order is known, and what its command refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import write_set
from typed import typed

from benchmarks.methods.study_run import mean_loss
from benchmarks.methods.study_tables import analysis, in_words
from shards.errors import DataError

COMMAND = "python -m benchmarks.methods.label_free_study"


def point(step: int, knn: float, rankme: float, **others: float) -> dict[str, float]:
    """A checkpoint whose alpha nears 1, and whose LiDAR falls, as kNN rises."""
    same = {"linear": knn, "alpha_req": 2 - knn, "lidar": -knn, "alignment": 1.0}
    return {"step": step, "knn": knn, "rankme": rankme, "uniformity": -1.0, "loss": 1.0} | (
        same | others
    )


def row(method: str, *points: dict[str, float]) -> dict[str, Any]:
    """A run of the file, as far as the tables look at it."""
    return {"set": "s", "method": method, "views": "2", "seed": 0, "points": list(points)}


ROWS = [
    row("a", point(0, 0.1, 9), point(1, 0.2, 1), point(2, 0.3, 2), point(3, 0.4, 3)),
    row("b", point(0, 0.1, 0), point(1, 0.6, 6), point(2, 0.5, 5), point(3, 0.7, 4)),
]


def test_a_measure_turned_its_way_is_right_or_wrong() -> None:
    """Alpha is right about every pair, LiDAR wrong, alignment says nothing, RankMe is between."""
    found = analysis(ROWS)["across_runs"]
    assert found["alpha_req"]["knn"]["kendall"]["value"] == 1
    assert found["lidar"]["linear"]["spearman"]["value"] == -1
    assert found["alignment"]["knn"]["spearman"]["value"] is None
    assert in_words(found["alignment"]["knn"]["spearman"]) == "none"
    assert in_words(found["lidar"]["knn"]["kendall"]) == "-1.00 [-1.00, -1.00]"
    assert 0 < found["rankme"]["knn"]["kendall"]["value"] < 1
    assert found["rankme"]["knn"]["kendall"]["num_points"] == 6


def test_runs_are_looked_at_by_themselves_too() -> None:
    """RankMe is right in one run and wrong in the other; an untrained encoder changes that."""
    found = analysis(ROWS)
    assert found["within_runs"]["rankme"]["knn"]["spearman"]["value"] == pytest.approx(0.25)
    by_run = [each["rankme"]["knn"]["spearman"]["value"] for each in found["each_run"].values()]
    assert by_run == pytest.approx([-0.2, 0.4])
    assert found["untrained"]["rankme"] == {"pairs": 6, "wrong": 3}
    assert found["untrained"]["step"]["wrong"] == 0
    assert found["last_of_each_run"]["rankme"]["knn"]["spearman"]["num_points"] == 2


def test_a_choice_costs_what_the_best_has_more() -> None:
    """--select by kNN costs nothing; RankMe, which it takes without labels, costs ten points."""
    found = analysis(ROWS)
    kept = found["choices"]["s b 2 seed 0"]
    assert kept["--select"] == {"step": 3, "knn_regret": 0, "linear_regret": 0}
    assert kept["--select without labels"] == {"step": 1, "knn_regret": 10, "linear_regret": 10}
    assert kept["lidar"]["knn_regret"] == kept["worst"]["knn_regret"] == 20
    assert found["across_choices"]["worst"]["knn_regret"] == 50


def test_the_loss_of_a_checkpoint_is_of_the_half_epoch_before() -> None:
    """Later losses do not count, nor older ones; step 0 has the first."""
    losses = [(1, 0.1, 9.0), (5, 0.5, 4.0), (6, 0.6, 3.0), (10, 1.0, 1.0), (11, 1.1, 70.0)]
    records = [{"step": s, "epoch": e, "loss": loss} for s, e, loss in losses]
    assert mean_loss([*records, {"step": 10, "epoch": 1.0, "knn": 0.5}], 10) == 2.0
    assert mean_loss(records, 0) == 9.0
    with pytest.raises(DataError, match="got none up to step 1 of the run; train on more images"):
        mean_loss(records[1:], 1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "got no --set; give --set NAME=TRAIN,EVAL"),
        ("--set x", "--set reads NAME=TRAIN,EVAL, got 'x'"),
        ("--set a=b,c --methods distill", "unknown method 'distill'"),
        ("--set a=b,c --epochs 1", "two epochs or more, got --epochs 1"),
        ("--set a=b,c --seeds one", "--seeds are whole numbers, got one"),
        ("--print", "rows.json has no rows; run without --print first"),
    ],
)
def test_the_command_refuses_in_a_line(flags: str, said: str, tmp_path: Path) -> None:
    """What is not asked for rightly ends before a run begins, and leaves nothing."""
    words = typed(f"{COMMAND} --out rows.json {flags}", tmp_path, code=2)
    assert said in words
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_study_is_made_and_gone_on_with(tmp_path: Path) -> None:
    """Each epoch is a point with an accuracy and every measure; the next call makes what lacks."""
    write_set(tmp_path / "train", [i % 3 for i in range(704)])
    write_set(tmp_path / "test", [i % 3 for i in range(48)], seed=500)
    study = f"{COMMAND} --set toy=train,test --epochs 2 --runs kept --out rows.json --methods"
    assert "toy simclr 2 seed 0: kNN" in typed(f"{study} simclr", tmp_path)
    (first,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    steps = [point["step"] for point in first["points"]]
    assert steps == [0, steps[2] // 2, steps[2]]
    assert steps[1] >= 10
    assert all(0 <= p["linear"] <= 1 and p["rankme"] >= 1 for p in first["points"])
    assert first["images"] == {"train": 704, "test": 48}
    again = typed(f"{study} simclr,simsiam", tmp_path)
    assert "toy simsiam 2 seed 0: kNN" in again
    assert "toy simclr 2 seed 0: kNN" not in again
    report = json.loads((tmp_path / "rows.json").read_text())
    assert report["rows"][0] == first
    assert report["analysis"] == json.loads(json.dumps(analysis(report["rows"])))
