"""Bad samples are listed in the run's folder: what, where, why, when, and what was used instead."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny_config

import trainer.step
from shards.errors import DataError
from shards.index import ShardIndex
from trainer import checkpoint, run
from trainer.config import TrainConfig
from trainer.recipes.recipe import to_yaml
from trainer.record.jsonlines import read_lines
from trainer.record.samplelog import describe_bad_samples
from trainer.train import train
from trainer.watch.guards import Guard

pytestmark = pytest.mark.usefixtures("weighed_once")

DAMAGED = (3, 20)


@pytest.fixture
def damaged(new_shards: Callable[..., Path]) -> Path:
    """37 images of which two have other bytes than the index says."""
    folder = new_shards()
    index = ShardIndex.open(folder)
    for id in DAMAGED:
        record = index.records[id]
        with open(folder / index.shards[record["shard"]].name, "r+b") as file:
            file.seek(int(record["offset"]))
            file.write(b"\0" * 16)
    return folder


def config_of(folder: Path, **data: Any) -> TrainConfig:
    data = {"train": str(folder), "verify": True, **data}
    return tiny_config(folder, data=data, loop={"epochs": 2.2, "batch_size": 8})


def test_every_bad_sample_is_listed(damaged: Path, tmp_path: Path) -> None:
    """One line each: key, shard, reason, step and epoch of the first time, and the substitute."""
    out, ids = tmp_path / "run", {}
    train(config_of(damaged, bad_budget=1.0), out)
    for line in read_lines(out / "bad-samples-rank0.jsonl"):
        ids[line["id"]] = line
        assert line["key"] == f"{line['id']:08d}"
        assert line["shard"].endswith(".tar")
        assert line["reason"]
        assert 1 <= line["step"] <= 5  # the first epoch ends in the fifth step
        assert line["epoch"] == 0
        assert line["substitute"] not in (None, *DAMAGED)
    assert sorted(ids) == list(DAMAGED)
    assert describe_bad_samples(out) == f"2 bad samples, listed in {out}/bad-samples-rank*.jsonl"


def test_a_run_without_bad_samples_has_no_list(shard_folder: Path, tmp_path: Path) -> None:
    """No file, and nothing to say."""
    config = tiny_config(shard_folder, loop={"epochs": 0.3, "batch_size": 8})
    train(config, tmp_path / "run")
    assert not list((tmp_path / "run").glob("bad-samples*"))
    assert describe_bad_samples(tmp_path / "run") is None


def test_the_sample_that_goes_over_the_budget_is_listed(damaged: Path, tmp_path: Path) -> None:
    """The run stops before its batch is used; the list says what it was."""
    with pytest.raises(DataError, match=r"at most 0 of"):
        train(config_of(damaged, on_bad="fail"), tmp_path / "run")
    (line,) = read_lines(tmp_path / "run" / "bad-samples-rank0.jsonl")
    assert line["id"] in DAMAGED


def test_a_continued_run_lists_each_step_once(damaged: Path, tmp_path: Path) -> None:
    """Lines of steps that come again are dropped, also those of a rank that is gone."""
    out, config = tmp_path / "run", config_of(damaged, bad_budget=1.0)
    train(config, out)
    whole = read_lines(out / "bad-samples-rank0.jsonl")
    (out / "bad-samples-rank7.jsonl").write_bytes((out / "bad-samples-rank0.jsonl").read_bytes())
    for path in checkpoint.steps(out):
        path.unlink()
    train(config, out, overwrite=True)
    assert read_lines(out / "bad-samples-rank0.jsonl") == whole
    assert not list(out.glob("bad-samples-rank7.jsonl"))


def test_the_end_of_a_run_says_so(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last lines name the list."""
    (tmp_path / "tiny.yaml").write_text(to_yaml(config_of(damaged, bad_budget=1.0)))
    argv = ["--config", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run")]
    assert run.main(argv) == 0
    assert "2 bad samples, listed in" in capsys.readouterr().out


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_steps_samples_are_on_the_disk_before_its_loss_is_read(
    accumulate: int, shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks read losses together and save after that: a saved step has all its lines."""
    loop = {"epochs": 1, "batch_size": 8, "accumulate": accumulate}
    run = {"record_ids": True, "save_every_steps": 1}
    out, check, seen = tmp_path / "run", Guard.check, []

    def look_and_check(self: Guard, *args: Any) -> Any:
        seen.append([line["step"] for line in read_lines(out / "ids-rank0.jsonl")])
        return check(self, *args)

    monkeypatch.setattr(Guard, "check", look_and_check)
    train(tiny_config(shard_folder, loop=loop, run=run), out)
    steps = [step for step in range(1, 5) for _ in range(accumulate)]
    assert seen == [steps[: accumulate * step] for step in range(1, 5)]


def test_ids_of_steps_that_come_again_are_dropped_also_when_no_more_are_recorded(
    shard_folder: Path, tmp_path: Path
) -> None:
    """What the file says then is what was trained on while it was recorded, no step twice."""
    out, loop = tmp_path / "run", {"epochs": 1, "batch_size": 8}
    config = tiny_config(shard_folder, loop=loop, run={"record_ids": True, "save_every_steps": 1})
    train(config, out)
    for path in checkpoint.steps(out)[2:]:
        path.unlink()
    (out / "ids-rank0 (copy).jsonl").write_text("mine")
    run = {"record_ids": False, "save_every_steps": 1}
    train(tiny_config(shard_folder, loop=loop, run=run), out, resume=True)
    assert [line["step"] for line in read_lines(out / "ids-rank0.jsonl")] == [1, 2]
    assert (out / "ids-rank0 (copy).jsonl").read_text() == "mine"


def test_what_a_step_met_before_it_failed_is_listed(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its first forward, although its second one fails; the samples of neither count as seen."""
    loop = {"epochs": 2.2, "batch_size": 8, "accumulate": 2}
    data = {"train": str(damaged), "verify": True, "bad_budget": 1.0}
    config = tiny_config(damaged, data=data, loop=loop, run={"record_ids": True})
    out, forward, failed_at = tmp_path / "run", trainer.step.forward, []

    def fail_after_bad(model: Any, parts: Any, views: Any, progress: Any) -> Any:
        if failed_at:
            raise RuntimeError("the device is gone")
        if views.bad and progress.part == 0:
            failed_at.append(progress.step + 1)
        return forward(model, parts, views, progress)

    monkeypatch.setattr(trainer.step, "forward", fail_after_bad)
    with pytest.raises(RuntimeError, match="device is gone"):
        train(config, out)
    bad = read_lines(out / "bad-samples-rank0.jsonl")
    assert bad[-1]["step"] == failed_at[0]
    assert {line["step"] for line in read_lines(out / "ids-rank0.jsonl")} == set(
        range(1, failed_at[0])
    )
