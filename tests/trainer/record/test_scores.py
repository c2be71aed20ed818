"""Every kNN score that is due is made, once, and compared with those of its protocol alone."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny_config
from tiny_sets import write_set

from trainer import checkpoint
from trainer.config import TrainConfig
from trainer.eval import online
from trainer.recipes.recipe import to_yaml
from trainer.record.jsonlines import drop_after
from trainer.record.log import read_metrics
from trainer.record.report import Reporter
from trainer.run import main
from trainer.train import train

pytestmark = pytest.mark.usefixtures("weighed_once")

SCORED = (0, 2, 3)  # of three steps, every 1.16
CALLS = 2 * len(SCORED)  # features of two sets a score


@pytest.fixture(scope="module")
def test_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Held-out images in three classes, in three batches."""
    looks = [i % 4 for i in range(12)]
    labels = [i % 3 for i in range(12)]
    return write_set(tmp_path_factory.mktemp("test") / "test", labels, looks, seed=9)


def config_of(shards: Path, test: Path | None, **changes: Any) -> TrainConfig:
    # Measures without labels have tests of their own: test_label_free_records.py.
    evaluation = {"k": 3, "every_epochs": 0.25, "batch_size": 5, "label_free": False, **changes}
    return tiny_config(
        shards,
        loop={"epochs": 0.7, "batch_size": 8},
        eval={"data": None if test is None else str(test), **evaluation},
        run={"log_every": 1, "keep": 1, "device": "cpu", "save_every_steps": 3},
    )


def scores(run: Path) -> list[tuple[int, float]]:
    return [(r["step"], r["knn"]) for r in read_metrics(run) if "knn" in r]


@pytest.fixture(scope="module")
def finished(shard_folder: Path, test_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its scores that nothing interrupted; never change it."""
    run = tmp_path_factory.mktemp("finished") / "whole"
    train(config_of(shard_folder, test_set), run)
    assert tuple(step for step, _ in scores(run)) == SCORED
    return run


@pytest.fixture
def whole(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test to change."""
    return Path(shutil.copytree(finished, tmp_path / "whole", symlinks=True))


def kill_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGUSR1 while features are made for the n-th time."""
    extract, calls = online.extract, iter(range(1, 100))

    def extract_and_kill(*args: Any) -> Any:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGUSR1)
        return extract(*args)

    monkeypatch.setattr(online, "extract", extract_and_kill)


@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_signal_during_an_evaluation_costs_no_score(
    number: int,
    whole: Path,
    shard_folder: Path,
    test_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is given up, the run saved and ended with the shell's code; resume makes it, all alike."""
    config, run = config_of(shard_folder, test_set), tmp_path / "run"
    with monkeypatch.context() as patch:
        kill_at(number, patch)
        outcome = train(config, run)
    at = SCORED[(number - 1) // 2]
    assert (outcome.exit_code, outcome.step) == (138, at)
    assert checkpoint.load(checkpoint.find(run))["step"] == at
    assert at not in dict(scores(run))
    assert train(config, run, resume=True).exit_code == 0
    assert scores(run) == scores(whole)


def test_a_signal_in_the_last_step_leaves_the_last_score_to_resume(
    whole: Path, shard_folder: Path, test_set: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The end says that it is missing and gives no other as the last; --resume alone makes it."""
    recipe, run = tmp_path / "tiny.yaml", tmp_path / "run"
    recipe.write_text(to_yaml(config_of(shard_folder, test_set)))
    note = Reporter.note

    def note_and_kill(self: Reporter, *args: Any) -> None:
        note(self, *args)
        if args[0].step == 2:
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "note", note_and_kill)
        assert main(["--config", str(recipe), "--out", str(run)]) == 138
    said = capsys.readouterr().out
    assert "stopped after step 3 of 3, before its last kNN; continue with" in said
    assert "random encoder" not in said
    assert main(["--out", str(run), "--resume"]) == 0
    assert scores(run) == scores(whole)
    last = dict(scores(run))
    assert f"kNN {last[3]:.1%}, random encoder {last[0]:.1%}" in capsys.readouterr().out


def test_without_evaluation_a_signal_in_the_last_step_ends_a_whole_run(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is missing then: exit code 0."""
    note = Reporter.note

    def note_and_kill(self: Reporter, *args: Any) -> None:
        note(self, *args)
        if args[0].step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Reporter, "note", note_and_kill)
    assert train(config_of(shard_folder, None), tmp_path / "run").exit_code == 0


def test_a_finished_run_without_its_last_score_makes_it(
    whole: Path, shard_folder: Path, test_set: Path
) -> None:
    """A kill after the last checkpoint: the score, the best and nothing else is done again."""
    expected, records = scores(whole), read_metrics(whole)
    assert records[-1]["step"] == 3
    lines = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)
    (whole / "metrics.jsonl").write_text("".join(lines[:-1]))
    (whole / "checkpoints" / "best.pt").unlink()
    outcome = train(config_of(shard_folder, test_set), whole, resume=True)
    assert scores(whole) == expected
    assert checkpoint.load(checkpoint.find(whole, "best"))["step"] == outcome.best_step


def test_best_is_named_again_after_a_kill(whole: Path, shard_folder: Path, test_set: Path) -> None:
    """A kill between the record of a score and the link: continuing sets best.pt."""
    best = checkpoint.find(whole, "best").resolve()
    (whole / "checkpoints" / "best.pt").unlink()
    train(config_of(shard_folder, test_set), whole, resume=True)
    assert checkpoint.find(whole, "best").resolve() == best


def test_evaluation_data_that_comes_later_has_its_random_encoder(
    whole: Path, shard_folder: Path, test_set: Path, tmp_path: Path
) -> None:
    """Added when continuing: the reference is that of a run which had it from the start."""
    run = tmp_path / "run"
    train(config_of(shard_folder, None), run)
    assert scores(run) == []
    outcome = train(config_of(shard_folder, test_set), run, resume=True)
    assert outcome.exit_code == 0
    assert scores(run) == [scores(whole)[0], scores(whole)[-1]]
    assert outcome.knn == dict(scores(run))


@pytest.mark.parametrize("change", ["set", "k", "fraction"])
def test_scores_of_another_protocol_are_no_history(
    change: str, whole: Path, shard_folder: Path, test_set: Path, tmp_path: Path
) -> None:
    """Another set or setting: own reference, own best; back again, the former ones are there."""
    before = scores(whole)
    changes = {"k": {"k": 7}, "fraction": {"fraction": 0.5}}.get(change, {})
    test = test_set
    if change == "set":
        test = write_set(tmp_path / "other", [2, 1, 0, 2, 1], [0, 1, 2, 3, 3], seed=4)
    outcome = train(config_of(shard_folder, test, **changes), whole, resume=True)
    assert sorted(outcome.knn) == [0, 3]
    assert outcome.best_step == 3
    assert checkpoint.load(checkpoint.find(whole, "best"))["step"] == 3
    assert scores(whole) == [*before, *outcome.knn.items()]
    again = train(config_of(shard_folder, test_set), whole, resume=True)
    assert again.knn == dict(before)


def test_the_best_checkpoint_outlives_its_evaluation_data(
    shard_folder: Path, test_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed when continuing: best.pt names what it did, though keep=1, and no kNN is said."""
    run, values = tmp_path / "run", map(online.OnlineScore, [0.1, 0.9, 0.2])
    with monkeypatch.context() as patch:
        patch.setattr(
            online.OnlineKnn,
            "__call__",
            lambda self, encoder, stop: next(values),
        )
        assert train(config_of(shard_folder, test_set), run).best_step == 2
    (run / "checkpoints" / "step-00000003.pt").unlink()
    drop_after(run / "metrics.jsonl", 2)
    outcome = train(config_of(shard_folder, None), run, resume=True)
    assert (outcome.step, outcome.knn) == (3, {})
    assert checkpoint.load(checkpoint.find(run, "best"))["step"] == 2
