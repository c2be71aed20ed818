"""A loss that is not finite is found late, named exactly, and its views can be looked at."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from masked_set import write_masked_tar
from tiny_run import tiny_config
from torch import nn

import trainer.step
import trainer.train
from augengine.plan import Plan
from shards.cursor import Cursor
from shards.errors import DataError
from shards.index import ShardIndex
from tools.show_views import main as show_views
from trainer import checkpoint
from trainer.build import Parts, build_parts, open_loader
from trainer.config import LoopConfig
from trainer.record.report import Reporter
from trainer.train import train
from trainer.watch.guards import redraw

RARELY = {"run": {"log_every": 100, "keep": 100, "device": "cpu", "save_every_steps": 3}}


def poison(monkeypatch: pytest.MonkeyPatch, step: int, value: str) -> None:
    """The loss of the `step`-th step is `value`."""
    note = Reporter.note

    def note_poisoned(self: Reporter, progress: Any, result: Any) -> None:
        if progress.step + 1 == step:
            result.loss.fill_(float(value))
        note(self, progress, result)

    monkeypatch.setattr(Reporter, "note", note_poisoned)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_the_step_is_named_although_losses_are_read_rarely(
    value: str, shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read at the save of step 6, it is step 5's; nothing after it is saved; the plan is shown."""
    poison(monkeypatch, 5, value)
    run, picture = tmp_path / "run", tmp_path / "views.png"
    with pytest.raises(DataError, match=rf"got {value} at step 5 .*--plan \S+step-5\.npz"):
        train(tiny_config(shard_folder, **RARELY), run)
    assert [path.name for path in checkpoint.steps(run)] == ["step-00000003.pt"]
    plan = Plan.load(run / "nonfinite-step-5.npz")
    assert len(plan.ids) == 8
    argv = ["--data", str(shard_folder), "--backend", "reference", "--out", str(picture)]
    argv += ["--plan", str(run / "nonfinite-step-5.npz")]
    assert show_views(argv) == 0
    assert picture.stat().st_size > 0


def corrupt(method: nn.Module, optimizer: torch.optim.Optimizer, where: str) -> None:
    """One value is infinite, as after an overflow."""
    if where == "gradient":
        grads = (p.grad for p in method.parameters() if p.grad is not None)
        next(grads).mul_(float("inf"))
        return
    if where == "buffer":
        tensor = next(b for b in method.buffers() if b.is_floating_point())
    else:
        tensor = next(iter(optimizer.state.values()))["momentum_buffer"]
    tensor[(0,) * tensor.ndim] = float("nan")


@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("where", ["gradient", "buffer", "optimizer"])
def test_a_finite_loss_with_an_update_that_is_not_names_its_step_and_saves_nothing(
    where: str,
    clip_norm: float | None,
    shard_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Step 5's update is named, not step 6's loss; step 3 is left; the cause gone, it goes on."""
    loop = {"epochs": 2, "batch_size": 8, "clip_norm": clip_norm}
    config, run = tiny_config(shard_folder, loop=loop, **RARELY), tmp_path / "run"
    clip = trainer.step.clip_gradients
    steps = iter(range(1, 100))

    def clip_and_corrupt(method: nn.Module, loop: LoopConfig) -> None:
        if next(steps) == 5:
            corrupt(method, built[-1].optimizer, where)
        clip(method, loop)

    def build_and_remember(*arguments: Any, **options: Any) -> Parts:
        built.append(build_parts(*arguments, **options))
        return built[-1]

    built: list[Parts] = []
    with monkeypatch.context() as patch:
        patch.setattr(trainer.step, "clip_gradients", clip_and_corrupt)
        patch.setattr(trainer.train, "build_parts", build_and_remember)
        with pytest.raises(DataError, match=r"weights must stay finite, got .* step 5, whose loss"):
            train(config, run)
    assert [path.name for path in checkpoint.steps(run)] == ["step-00000003.pt"]
    assert Plan.load(run / "nonfinite-step-5.npz").batch_size == 8
    assert train(config, run, resume=True).exit_code == 0
    assert checkpoint.load(checkpoint.find(run))["step"] == 9


def test_what_is_infinite_on_purpose_is_left_alone(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask of minus infinity from the start trains, is saved and resumed; the rest is watched."""

    def build_with_mask(*arguments: Any, **options: Any) -> Parts:
        parts = build_parts(*arguments, **options)
        parts.method.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
        return parts

    monkeypatch.setattr(trainer.train, "build_parts", build_with_mask)
    config, run = tiny_config(shard_folder, **RARELY), tmp_path / "run"
    train(replace(config, loop=replace(config.loop, epochs=2)), run)
    checkpoint.steps(run)[-1].unlink()
    assert train(replace(config, loop=replace(config.loop, epochs=2)), run, resume=True).step == 9


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_is_drawn_again_from_its_number(accumulate: int, new_shards: Any) -> None:
    """The redrawn plan of every step over an epoch border is the loader's, substitutes included."""
    folder = new_shards()
    entry = ShardIndex.open(folder).entry(3)
    with open(folder / "train-000000.tar", "r+b") as file:
        file.seek(entry.offset)
        file.write(b"not a picture")
    loop = {"epochs": 3, "batch_size": 8, "accumulate": accumulate}
    config = tiny_config(folder, loop=loop, data={"bad_budget": 1.0})
    parts = build_parts(config)
    with open_loader(parts, Cursor(0)) as loader:
        for step in range(1, 11):
            drawn = [next(loader).plan for _ in range(accumulate)]
            bad = [sample.id for sample in loader.bad_samples]
            again = redraw(parts, step, [0], bad)
            for part, plan in enumerate(drawn):
                rows = np.arange(part * plan.batch_size, (part + 1) * plan.batch_size)
                assert again.rows(rows).digest() == plan.digest()
        assert [sample.id for sample in loader.bad_samples] == [3]


def test_a_step_with_other_backgrounds_is_drawn_again(tmp_path: Path) -> None:
    """A donor is of the part of the step that it was drawn in; the picture has it, too."""
    folder = write_masked_tar(tmp_path / "tars")
    policy = {"background": {"prob": 0.7, "kind": "random"}}
    loop = {"epochs": 3, "batch_size": 8, "accumulate": 2}
    parts = build_parts(tiny_config(folder, loop=loop, policy=policy))
    with open_loader(parts, Cursor(0)) as loader:
        for step in range(1, 4):
            again = redraw(parts, step, [0])
            for part in range(2):
                rows = slice(part * 4, part * 4 + 4)
                assert again.rows(rows).digest() == next(loader).plan.digest()
    again.save(tmp_path / "plan.npz")
    argv = ["--plan", str(tmp_path / "plan.npz"), "--data", str(folder), "--num-images", "2"]
    assert again.background[:2].any()
    assert show_views([*argv, "--out", str(tmp_path / "views.png")]) == 0


def test_a_plan_is_shown_on_its_own_images_only(
    shard_folder: Path, new_shards: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--plan with another data set is one line; --ids choose rows of the plan."""
    parts = build_parts(tiny_config(shard_folder))
    plan, picture = redraw(parts, 1, [0]), tmp_path / "views.png"
    plan.save(tmp_path / "plan.npz")
    argv = ["--plan", str(tmp_path / "plan.npz"), "--out", str(picture), "--backend", "reference"]
    assert show_views([*argv, "--data", str(new_shards(9))]) == 1
    assert "images it was drawn for" in capsys.readouterr().err
    assert not picture.exists()
    ids = f"{plan.ids[2]},{plan.ids[5]}"
    assert show_views([*argv, "--data", str(shard_folder), "--ids", ids]) == 0
    assert "2 images, 3 views each" in capsys.readouterr().err
