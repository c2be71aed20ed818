"""Two ranks of the real command: evaluation with every method, late ranks, and who says why."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny_config
from tiny_sets import write_set
from warm_python import environment, warm_python

from trainer.methods.method_table import METHODS
from trainer.recipes.recipe import to_yaml
from trainer.record.log import read_metrics

HERE = Path(__file__).parent
QUICK = ("swav", "mocov2", "dino")  # statistics over all ranks, of each rank, of a teacher
COLLECTIVE_S = 100  # whoever waits for that is later than any test allows


def run_ranks(folder: Path, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [warm_python(), str(HERE / "ranks.py")],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def scored_on(shards: Path, *, label_free: bool) -> dict[str, Any]:
    """A kNN after every step; and measures without labels, which take as long again."""
    every = {"data": str(shards), "k": 3, "every_epochs": 0.1, "batch_size": 8}
    return every | {"label_free": label_free}


def recipe_of(folder: Path, shards: Path, method: str = "swav", **changes: Any) -> list[str]:
    """A run of two steps with a kNN before, between and after."""
    changes.setdefault("loop", {"epochs": 0.5, "batch_size": 8})
    changes.setdefault("eval", scored_on(shards, label_free=False))
    run = {"log_every": 1, "device": "cpu", "collective_seconds": COLLECTIVE_S}
    data = {"train": str(shards), "backend": "fused", "decoder": "pillow", "workers": 1}
    data |= {"stall_seconds": 50, **changes.pop("data", {})}
    path = folder / f"{method}.yaml"
    path.write_text(to_yaml(tiny_config(shards, method, run=run, data=data, **changes)))
    return ["--config", str(path)]


def knn_of(run: Path) -> dict[int, float]:
    return {r["step"]: r["knn"] for r in read_metrics(run) if "knn" in r}


def evaluated(
    methods: tuple[str, ...], worlds: tuple[int, ...], shards: Path, folder: Path, label_free: bool
) -> list[dict[int, float]]:
    """The scores of every method on each number of ranks; all runs end well."""
    scored = scored_on(shards, label_free=label_free)
    recipes = {name: recipe_of(folder, shards, name, eval=scored) for name in methods}
    commands = [
        {"argv": [*recipes[name], "--out", f"{name}-{world}"], "world": world}
        for name in methods
        for world in worlds
    ]
    for command, result in zip(commands, run_ranks(folder, commands), strict=True):
        assert result["codes"] == [0] * command["world"], result["log"]
    return [knn_of(folder / command["argv"][-1]) for command in commands]


@pytest.mark.slow
def test_two_ranks_evaluate_as_one(indexed_folder: Path, tmp_path: Path) -> None:
    """The kNN of a random encoder is that of one process, and every score that is due is made."""
    found = evaluated(QUICK, (1, 2), indexed_folder, tmp_path, label_free=True)
    assert all(list(knn) == [0, 1, 2] for knn in found)
    # One seed gives one encoder, whatever the method and the number of ranks.
    assert len({knn[0] for knn in found}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("label_free", [False, pytest.param(True, marks=pytest.mark.long)])
def test_two_ranks_evaluate_with_every_method(
    label_free: bool, indexed_folder: Path, tmp_path: Path
) -> None:
    """Whatever a method's batch norms, teachers and memories are."""
    others = tuple(name for name in METHODS if name not in QUICK)
    found = evaluated(others, (2,), indexed_folder, tmp_path, label_free)
    assert all(list(knn) == [0, 1, 2] for knn in found)
    assert len({knn[0] for knn in found}) == 1


def test_ranks_that_start_apart_share_the_first_ones_folder(
    indexed_folder: Path, tmp_path: Path
) -> None:
    """Without --out, a rank that comes seconds later makes no folder of its own."""
    argv = [*recipe_of(tmp_path, indexed_folder), "run.record_ids=true"]
    (found,) = run_ranks(tmp_path, [{"argv": argv, "world": 2, "late_s": 2.0}])
    assert found["codes"] == [0, 0], found["log"]
    (run,) = (tmp_path / "runs").iterdir()
    assert {p.name for p in run.glob("ids-*")} == {"ids-rank0.jsonl", "ids-rank1.jsonl"}
    assert str(run.relative_to(tmp_path)) in found["log"]


def test_what_stops_one_rank_is_said_by_all(indexed_folder: Path, tmp_path: Path) -> None:
    """Damage in the first one's images ends every rank at once, with the reason in one line."""
    test = write_set(tmp_path / "test", [i % 3 for i in range(20)], torn=range(0, 8, 2))
    argv = [*recipe_of(tmp_path, indexed_folder), "--eval-data", str(test), "--out", "run"]
    (found,) = run_ranks(tmp_path, [{"argv": argv, "world": 2}])
    assert found["codes"] == [1, 1], found["log"]
    assert max(found["seconds"]) < COLLECTIVE_S / 2
    reason = f"at most 1 of 20 samples of {test} may be bad"
    assert found["log"].count(f"error: rank 0: {reason}") == 1, found["log"]
    others = "error: rank 1: what all ranks do together must succeed, got on rank 0: "
    assert found["log"].count(others + reason) == 1, found["log"]
    assert "Traceback" not in found["log"]


def test_a_rank_that_dies_in_an_evaluation_ends_the_other(
    indexed_folder: Path, tmp_path: Path
) -> None:
    """Killed while it makes features: the first one says so in a line, at once."""
    argv = [*recipe_of(tmp_path, indexed_folder), "--out", "run"]
    (found,) = run_ranks(tmp_path, [{"argv": argv, "world": 2, "dies": 3}])
    assert found["codes"] == [1, -9], found["log"]
    assert max(found["seconds"]) < COLLECTIVE_S / 2
    assert found["log"].count("another rank has ended or hangs") == 1, found["log"]
    assert "Traceback" not in found["log"]


@pytest.mark.slow
@pytest.mark.parametrize("interrupt", [1, 3, 6])
def test_a_signal_during_an_evaluation_ends_every_rank(
    interrupt: int, indexed_folder: Path, tmp_path: Path
) -> None:
    """Before, between and after the steps: all end alike, and resume makes the score."""
    argv = [*recipe_of(tmp_path, indexed_folder), "--out", "run"]
    again = {"argv": ["--out", "run", "--resume"], "world": 2}
    whole = {"argv": [*argv[:-1], "whole"], "world": 2}
    stopped = {"argv": argv, "world": 2, "interrupt": interrupt}
    found = run_ranks(tmp_path, [whole, stopped, again])
    codes = [result["codes"] for result in found]
    assert codes == [[0, 0], [138, 138], [0, 0]], found[1]["log"]
    assert knn_of(tmp_path / "run") == knn_of(tmp_path / "whole")


def test_a_wrong_evaluation_set_is_said_before_anything_is_written(
    indexed_folder: Path, tmp_path: Path
) -> None:
    """Every rank says so; there is no folder of the run."""
    argv = [*recipe_of(tmp_path, indexed_folder), "--eval-data", str(tmp_path / "nothing")]
    (found,) = run_ranks(tmp_path, [{"argv": argv, "world": 2}])
    assert found["codes"] == [1, 1], found["log"]
    assert not (tmp_path / "runs").exists()
