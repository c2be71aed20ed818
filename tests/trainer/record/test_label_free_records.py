"""A run measures its encoder without labels when a score is due, once, and trains as without."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from test_ranks import recipe_of, run_ranks
from tiny_run import tiny_config
from tiny_sets import write_set

from trainer import checkpoint
from trainer.config import TrainConfig
from trainer.eval import fixed_part
from trainer.record.log import read_metrics
from trainer.train import train

pytestmark = pytest.mark.usefixtures("weighed_once")

KEYS = {"rankme", "alpha_req", "lidar", "alignment", "uniformity"}
SCORED = [0, 2, 3]  # of three steps, every 1.16


@pytest.fixture(scope="module")
def test_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Held-out images in three classes."""
    folder = tmp_path_factory.mktemp("test") / "test"
    return write_set(folder, [i % 3 for i in range(12)], [i % 4 for i in range(12)], seed=9)


def config_of(shards: Path, test: Path | None, **changes: Any) -> TrainConfig:
    held_out = None if test is None else str(test)
    return tiny_config(
        shards,
        loop={"epochs": 0.7, "batch_size": 8},
        eval={"data": held_out, "k": 3, "every_epochs": 0.25, "batch_size": 40, **changes},
        run={"log_every": 1, "keep": 9, "device": "cpu", "save_every_steps": 1},
    )


def measured(run: Path) -> list[dict[str, Any]]:
    """The label-free records, without what a clock says."""
    clocks = ("time_s", "label_free_s")
    records = [r for r in read_metrics(run) if "label_free_protocol" in r]
    return [{key: value for key, value in r.items() if key not in clocks} for r in records]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(checkpoint.find(run))["method"]


def losses(run: Path) -> list[tuple[int, float]]:
    return [(r["step"], r["loss"]) for r in read_metrics(run) if "loss" in r]


@pytest.fixture(scope="module")
def whole(shard_folder: Path, test_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with held-out images that nothing interrupted; never change it."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(config_of(shard_folder, test_set), run)
    return run


@pytest.mark.parametrize("held_out", [True, False])
def test_measuring_changes_no_bit_of_the_training(
    held_out: bool, shard_folder: Path, test_set: Path, tmp_path: Path
) -> None:
    """With and without: the same losses and the same last checkpoint; and all five are written."""
    test = test_set if held_out else None
    for name, is_on in (("on", True), ("off", False)):
        train(config_of(shard_folder, test, label_free=is_on), tmp_path / name)
    assert measured(tmp_path / "off") == []
    records = measured(tmp_path / "on")
    assert [r["step"] for r in records] == SCORED
    assert all(set(r) >= KEYS for r in records)
    assert losses(tmp_path / "on") == losses(tmp_path / "off")
    on, off = weights(tmp_path / "on"), weights(tmp_path / "off")
    assert on.keys() == off.keys()
    assert all(torch.equal(on[key], off[key]) for key in on)


def test_it_is_on_where_there_are_held_out_images(
    whole: Path, shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Left open: with them yes, without no; asked for without them it says what it measures."""
    assert [r["step"] for r in measured(whole)] == SCORED
    assert "12 held-out images" in measured(whole)[0]["label_free_protocol"]
    train(config_of(shard_folder, None), tmp_path / "without")
    assert measured(tmp_path / "without") == []
    capsys.readouterr()
    train(config_of(shard_folder, None, label_free=True), tmp_path / "asked")
    assert "label-free measures are of 37 training images" in capsys.readouterr().err
    assert "37 training images" in measured(tmp_path / "asked")[0]["label_free_protocol"]


@pytest.mark.parametrize("number", range(1, 4))
def test_a_signal_costs_no_record(
    number: int,
    whole: Path,
    shard_folder: Path,
    test_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given up, saved and ended; resume makes it, and all records are those of a whole run."""
    config = config_of(shard_folder, test_set)
    extract, calls = fixed_part.extract, iter(range(1, 9))

    def extract_and_kill(*args: Any) -> Any:
        found = extract(*args)
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGUSR1)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(fixed_part, "extract", extract_and_kill)
        outcome = train(config, tmp_path / "run")
    at = SCORED[number - 1]
    assert (outcome.exit_code, outcome.step) == (138, at)
    assert at not in [r["step"] for r in measured(tmp_path / "run")]
    assert train(config, tmp_path / "run", resume=True).exit_code == 0
    assert measured(tmp_path / "run") == measured(whole)


def test_a_run_that_goes_on_with_it_has_step_0(
    whole: Path, shard_folder: Path, test_set: Path, tmp_path: Path
) -> None:
    """Asked for after the end: the untrained encoder and the last one, as if from the start."""
    train(config_of(shard_folder, test_set, label_free=False), tmp_path / "run")
    train(config_of(shard_folder, test_set), tmp_path / "run", resume=True)
    expected = measured(whole)
    assert measured(tmp_path / "run") == [expected[0], expected[-1]]
    train(config_of(shard_folder, test_set), tmp_path / "run", resume=True)
    assert len(measured(tmp_path / "run")) == 2


def test_features_that_are_not_finite_end_no_run(
    shard_folder: Path, test_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning stands in the record in place of numbers."""
    measures = fixed_part.measures
    monkeypatch.setattr(fixed_part, "measures", lambda z, views: measures(z / 0, views))
    assert train(config_of(shard_folder, test_set), tmp_path / "run").exit_code == 0
    records = measured(tmp_path / "run")
    assert [r["step"] for r in records] == SCORED
    assert all("finite features" in r["warning"] and not KEYS & set(r) for r in records)


def test_an_image_that_cannot_be_read_is_left_out(
    shard_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named once, although kNN meets it too, and listed; the numbers are of the others."""
    test = write_set(tmp_path / "test", [i % 3 for i in range(12)], torn=[5])
    train(config_of(shard_folder, test), tmp_path / "run")
    assert [r["step"] for r in measured(tmp_path / "run")] == SCORED
    assert all(r["lidar"] < 11 for r in measured(tmp_path / "run"))  # images - 1, at most
    assert sum("000005" in text for text in caplog.messages) == 1
    assert len((tmp_path / "run" / "bad-samples-rank0.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_two_ranks_measure_as_one(indexed_folder: Path, tmp_path: Path) -> None:
    """The untrained encoder's numbers are those of one process, and both ranks end well."""
    settings = {"data": str(indexed_folder), "k": 3, "every_epochs": 0.1}
    argv = recipe_of(tmp_path, indexed_folder, eval=settings)
    commands = [{"argv": [*argv, "--out", str(n)], "world": n} for n in (1, 2)]
    for result in run_ranks(tmp_path, commands):
        assert set(result["codes"]) == {0}, result["log"]
    one, two = (measured(tmp_path / str(n)) for n in (1, 2))
    assert [r["step"] for r in two] == [0, 1, 2]
    assert one[0] == two[0]
