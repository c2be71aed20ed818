"""What a run may change when it continues: its length, where things lie; and nothing else."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config
from torch import nn

from shards.errors import UsageError
from trainer.nets.backbones import create_backbone
from trainer.nets.classifier import Classifier, save_classifier
from trainer.recipes.recipe import as_mapping, resolve
from trainer.record.continuation import changed_on_resume
from trainer.record.log import read_metrics
from trainer.record.starts import read_starts
from trainer.settings.strict import merge
from trainer.train import train

pytestmark = pytest.mark.usefixtures("weighed_once")

BACKBONE = {"arch": "resnet10", "width": 0.125, "stem": "small", "image_size_px": 16}


def short(folder: Path, epochs: float, method: str = "simsiam", **changes: Any) -> Any:
    loop = {"epochs": epochs, "batch_size": 8}
    optim = {"name": "sgd", "base_lr": 1.0, "warmup_epochs": 0.0}
    return tiny_config(folder, method, loop=loop, optim=optim, **changes)


def rates(run: Path) -> list[float]:
    return [record["lr"] for record in read_metrics(run) if "lr" in record]


def test_a_finished_run_trains_longer(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From its last step on it follows the longer schedule; that is said, and kept in the head."""
    run = tmp_path / "run"
    train(short(shard_folder, 1.0), run)  # 37 images: 4 steps of 8
    assert train(short(shard_folder, 2.0), run, resume=True).step == 9
    peak = 8 / 256
    expected = [peak * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)]
    expected += [peak * (1 + math.cos(math.pi * t / 9)) / 2 for t in range(4, 9)]
    assert rates(run) == pytest.approx(expected)
    sentence = "the run now has 2 epochs, 9 steps, in place of 1.0: from step 4 on"
    assert sentence in capsys.readouterr().err.replace("\n", " ")
    starts = read_starts((run / "config.yaml").read_text())
    assert [start["of_steps"] for start in starts] == [4, 9]
    assert sentence in starts[1]["notes"][0]


def test_a_longer_run_that_is_cut_goes_on_exactly(shard_folder: Path, tmp_path: Path) -> None:
    """The rule has no memory: cut again, the lengthened run repeats itself."""
    every = {"run": {"log_every": 1, "keep": 100, "device": "cpu", "save_every_steps": 1}}
    runs = [tmp_path / name for name in ("whole", "cut")]
    for run in runs:
        train(short(shard_folder, 1.0, **every), run)
        train(short(shard_folder, 2.0, **every), run, resume=True)
    for path in list((runs[1] / "checkpoints").glob("step-0000000[6-9].pt")):
        path.unlink()
    assert train(short(shard_folder, 2.0, **every), runs[1], resume=True).step == 9
    losses = [[r["loss"] for r in read_metrics(run) if "loss" in r] for run in runs]
    assert losses[0] == losses[1]


def test_a_run_cannot_end_before_where_it_is(shard_folder: Path, tmp_path: Path) -> None:
    """Fewer epochs than are done are refused with the least that would do, and that one does."""
    run = tmp_path / "run"
    train(short(shard_folder, 2.0), run)
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(UsageError, match=r"got --epochs 1 at step 9; give --epochs 1\.946 or"):
        train(short(shard_folder, 1.0), run, resume=True)
    assert (run / "config.yaml").read_bytes() == before
    assert train(short(shard_folder, 1.946), run, resume=True).step == 9


def test_where_things_lie_may_change(tmp_path: Path) -> None:
    """A data folder, a teacher's path and a policy's label are no part of what is learned."""

    def config(folder: str) -> Any:
        mine = tmp_path / folder / "mine.yaml"
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("groups: [{count: 2, size_px: 32, views: [{scale: [0.2, 1]}]}]\n")
        method = {"name": "distill", "teacher": f"{folder}/t.pt"}
        return resolve({"data": {"train": folder}, "policy": {"name": str(mine)}, "method": method})

    assert changed_on_resume(as_mapping(config("a")), config("b")) == []
    random = resolve({**as_mapping(config("a")), "method": {"name": "distill"}})
    assert changed_on_resume(as_mapping(config("a")), random) == ["method.teacher: a file -> None"]


def test_another_policy_is_named_value_by_value() -> None:
    """Label first, then each value that differs."""
    now = resolve({"policy": {"name": "byol", "views": "2"}})
    first, *others = changed_on_resume(as_mapping(resolve({"policy": {"views": "2"}})), now)
    assert first == "policy.name: swav -> byol"
    assert "policy.groups[0].views[0].blur: 0.5 -> 1.0" in others


def test_a_run_of_a_former_release_is_completed() -> None:
    """A policy by name and settings that were not written out equal today's in full."""
    now = resolve({"method": {"name": "dcl"}, "policy": {"name": "byol", "blur": 0.0}})
    before = as_mapping(now)
    before["method"] = {"name": "dcl"}
    before["policy"] = {"name": "byol", "views": None, "sizes": None, "groups": [], "blur": 0.0}
    assert changed_on_resume(before, now) == []
    before["policy"]["blur"] = 0.5
    assert "policy.groups[0].views[0].blur: 0.5 -> 0.0" in changed_on_resume(before, now)


def test_another_teacher_is_refused(shard_folder: Path, tmp_path: Path) -> None:
    """The same teacher at another place goes on; a file with other weights does not."""
    for seed, name in enumerate(("one", "other")):
        torch.manual_seed(seed)
        classifier = Classifier(create_backbone(**BACKBONE), nn.Sequential(), 3)
        save_classifier(tmp_path / f"{name}.pt", classifier, BACKBONE)
    (tmp_path / "moved.pt").write_bytes((tmp_path / "one.pt").read_bytes())

    def config(teacher: str, epochs: float) -> Any:
        values = as_mapping(short(shard_folder, epochs, "distill"))
        return resolve(merge(values, {"method": {"teacher": str(tmp_path / teacher)}}))

    run = tmp_path / "run"
    train(config("one.pt", 0.5), run)
    assert train(config("moved.pt", 1.0), run, resume=True).step == 4
    with pytest.raises(UsageError, match="the teacher it began with, got another file's weights"):
        train(config("other.pt", 1.0), run, resume=True)
