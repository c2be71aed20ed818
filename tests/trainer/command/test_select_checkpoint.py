"""`trainer.evaluate RUN --select` names one of the kept checkpoints, and says by what."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny_config
from tiny_sets import write_set

from trainer.command.select_checkpoint import choose, read_rows
from trainer.evaluate import main
from trainer.recipes.recipe import to_yaml
from trainer.run import main as run_main
from trainer.train import train


def made_run(folder: Path, kept: list[int], records: list[dict[str, Any]]) -> Path:
    """A run as far as --select reads it."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("data: {train: x}\n")
    for step in kept:
        (folder / "checkpoints" / f"step-{step:08d}.pt").write_bytes(b"")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder


def label_free(step: int, rank: float, alpha: float, lidar: float, of: str = "a") -> dict[str, Any]:
    values = {"rankme": rank, "alpha_req": alpha, "lidar": lidar}
    return {"step": step, **values, "label_free_protocol": of}


def knn(step: int, value: float, of: str = "a") -> dict[str, Any]:
    return {"step": step, "knn": value, "knn_protocol": of}


def test_knn_decides_where_there_are_labels() -> None:
    """The highest of the kept ones, the earlier of equal ones, whatever RankMe is."""
    records = [knn(1, 0.9), knn(2, 0.5), knn(3, 0.7), knn(4, 0.7), label_free(2, 99, 1, 99)]
    step, why = choose(read_rows(records, [2, 3, 4]))
    assert (step, why) == (3, "the highest kNN of 3 kept checkpoints")


def test_without_labels_rankme_decides() -> None:
    """The largest of the kept ones, whatever alpha and LiDAR would take; and what it cannot say."""
    step, why = choose(read_rows([label_free(1, 5, 0.9, 9), label_free(2, 6, 0.5, 4)], [1, 2]))
    assert step == 2
    assert why == (
        "the largest RankMe of 2 kept checkpoints; there is no kNN. It orders checkpoints of one "
        "run, and says not whether they learned"
    )


def test_only_records_of_the_last_protocol_and_numbers_count() -> None:
    """Others are of other images; what is no finite number is none; neither is another's line."""
    odd = {"step": 2, "rankme": "nan", "lidar": True, "alpha_req": 1.0, "label_free_protocol": "b"}
    records = [label_free(1, 9, 1, 9), knn(1, 0.9), knn(2, 0.1, "b"), label_free(3, 1, 1, 1, "b")]
    rows = read_rows([*records, odd, [1], {"step": 9, "knn": 1.0, "knn_protocol": "b"}], [1, 2, 3])  # pyright: ignore[reportArgumentType]
    assert rows[1] == {}
    assert rows[2] == {"knn": 0.1, "alpha_req": 1.0}
    assert rows[3] == {"rankme": 1, "alpha_req": 1, "lidar": 1}


def test_the_table_and_the_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row a kept checkpoint, a dash for what is not known; exit code 0."""
    run = made_run(tmp_path / "run", [10, 20], [label_free(10, 5.25, 1.5, 3), knn(99, 1.0)])
    assert main([str(run), "--select"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["step", "RankMe", "alpha", "LiDAR"]
    assert lines[1].split() == ["10", "5.2", "1.50", "3.0"]
    assert lines[2].split() == ["20", "-", "-", "-"]
    assert lines[3] == "keep step 10: the only kept checkpoint with a RankMe"


def test_what_cannot_be_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No record: what to type; no run, no checkpoint, flags that have no meaning."""
    run = made_run(tmp_path / "my run", [10, 20], [{"step": 10, "loss": 1.0}])
    empty = made_run(tmp_path / "empty", [], [])
    (empty / "checkpoints").rmdir()
    for argv, expected in (
        ([str(run)], f"trainer.run --out '{run}' --resume eval.label_free=true"),
        ([str(empty)], "a run has a checkpoints folder"),
        ([str(tmp_path / "none")], "--select compares the checkpoints of a run"),
        ([str(run), "--k", "5", "--eval-data", "x"], "got --eval-data, --k too; leave"),
    ):
        assert main([*argv, "--select"]) == 2
        said = capsys.readouterr().err
        assert expected in said
        assert said.count("\n") == 1


def test_what_it_says_to_type_is_enough(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finished run without labels or records is measured by that command, and then compared."""
    config = tiny_config(shard_folder, loop={"epochs": 0.5, "batch_size": 8})
    train(config, tmp_path / "run")
    assert main([str(tmp_path / "run"), "--select"]) == 2
    typed = capsys.readouterr().err.split("trainer.run ")[1].split()
    assert run_main(typed) == 0
    capsys.readouterr()
    assert main([str(tmp_path / "run"), "--select"]) == 0
    assert "keep step 2: the only kept checkpoint with a RankMe" in capsys.readouterr().out


def test_a_run_with_labels_has_both(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a real run: all six columns, and kNN decides."""
    test = write_set(tmp_path / "test", [i % 3 for i in range(12)])
    recipe = tmp_path / "tiny.yaml"
    evaluation = {"data": str(test), "k": 3, "every_epochs": 0.25}
    run = {"device": "cpu", "save_every_steps": 1, "keep": 5}
    loop = {"epochs": 0.7, "batch_size": 8}
    recipe.write_text(to_yaml(tiny_config(shard_folder, loop=loop, eval=evaluation, run=run)))
    assert run_main(["--config", str(recipe), "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main([str(tmp_path / "run"), "--select"]) == 0
    said = capsys.readouterr().out
    assert said.split("\n")[0].split()[1:] == [
        *("kNN", "RankMe", "alpha", "LiDAR", "alignment", "uniformity")
    ]
    assert "the highest kNN of 2 kept checkpoints" in said
