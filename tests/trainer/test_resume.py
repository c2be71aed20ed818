"""A run that is continued repeats the uninterrupted one bit for bit, wherever it was cut."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config

from shards.errors import DataError, UsageError
from trainer import checkpoint
from trainer.eval.online import OnlineKnn, OnlineScore
from trainer.methods.method_table import METHODS
from trainer.record.log import read_metrics
from trainer.record.report import Reporter
from trainer.setup.timeline import due
from trainer.train import train

pytestmark = pytest.mark.usefixtures("weighed_once")

# Epoch 2 begins inside the tenth batch (37 * 2 = 74 = 9.25 * 8): every cut around that border.
# DeepCluster v2 looks until the fifth step and clusters in the sixth, and again in the eleventh.
CUTS = {"swav": (8, 9, 10, 11), "deepclusterv2": (4, 5, 6, 9, 10)}  # the others: 9 and 10
EVERY_STEP = {"run": {"log_every": 1, "keep": 100, "device": "cpu", "save_every_steps": 1}}


def losses(run: Path) -> dict[int, tuple[float, float]]:
    """Loss and learning rate of every step."""
    return {r["step"]: (r["loss"], r["lr"]) for r in read_metrics(run)}


def final_state(run: Path) -> dict[str, Any]:
    return checkpoint.load(checkpoint.find(run))


def cut(run: Path, out: Path, step: int) -> Path:
    """The run as a crash after `step` would have left it: later checkpoints are not there."""
    shutil.copytree(run, out, symlinks=True)
    for path in checkpoint.steps(out):
        if int(path.stem.removeprefix("step-")) > step:
            path.unlink()
    return out


def assert_equal(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


def test_due_follows_epochs_that_are_no_whole_number_of_steps() -> None:
    """Every 2 epochs of 93.75 steps: after the step that completes them, and never twice."""
    assert [step for step in range(1, 751) if due(step, 187.5)] == [188, 375, 563, 750]
    assert [step for step in range(1, 13) if due(step, 4)] == [4, 8, 12]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [14, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.parametrize("method", METHODS)
def test_every_cut_around_an_epoch_border_continues_exactly(
    method: str, steps: int, shard_folder: Path, tmp_path: Path
) -> None:
    """Cut around the border: same losses, weights, teacher, queue, momentum, cursor at the end."""
    length = {"loop": {"epochs": steps * 8 / 37, "batch_size": 8}}
    config = tiny_config(shard_folder, method, **EVERY_STEP, **length)
    whole = tmp_path / "whole"
    outcome = train(config, whole)
    assert (outcome.step, outcome.total_steps, outcome.exit_code) == (steps, steps, 0)
    expected = losses(whole)
    assert sorted(expected) == list(range(1, steps + 1))
    assert len(set(expected.values())) > 0.75 * steps
    for step in CUTS.get(method, (9, 10)):
        run = cut(whole, tmp_path / f"cut-{step}", step)
        assert train(tiny_config(shard_folder, method, **length), run, resume=True).step == steps
        assert losses(run) == expected
        ends = final_state(run), final_state(whole)
        for end in ends:
            del end["config"]  # how often to save may differ
        assert_equal(*ends)


def test_another_number_of_workers_changes_nothing(shard_folder: Path, tmp_path: Path) -> None:
    """Losses depend on neither threads nor prefetching, so both may change on resume."""
    for backend in ("fused", "kornia"):
        runs = [tmp_path / f"{backend}-{workers}" for workers in (1, 3)]
        for run, workers in zip(runs, (1, 3), strict=True):
            data = {"backend": backend, "workers": workers}
            train(tiny_config(shard_folder, loop={"epochs": 1.3, "batch_size": 8}, data=data), run)
        assert losses(runs[0]) == losses(runs[1])


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_signal_saves_and_the_run_goes_on(
    number: signal.Signals,
    code: int,
    shard_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal finishes the step, saves, and gives the shell's code; resume completes the run."""
    config = tiny_config(shard_folder, loop={"epochs": 1.3, "batch_size": 8})
    train(config, tmp_path / "whole")
    note, former = Reporter.note, signal.getsignal(number)

    def note_and_kill(self: Reporter, *args: Any) -> None:
        note(self, *args)
        if args[0].step == 2:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "note", note_and_kill)
        outcome = train(config, tmp_path / "cut")
    assert (outcome.exit_code, outcome.step) == (code, 3)
    assert final_state(tmp_path / "cut")["step"] == 3
    assert signal.getsignal(number) == former
    assert train(config, tmp_path / "cut", resume=True).exit_code == 0
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_a_loss_that_is_not_finite_stops_the_run(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names step and samples, and no checkpoint after it exists."""
    config = tiny_config(shard_folder, **EVERY_STEP)
    note = Reporter.note

    def note_nan(self: Reporter, progress: Any, result: Any) -> None:
        if progress.step == 4:
            result.loss.detach().fill_(float("nan"))
        note(self, progress, result)

    monkeypatch.setattr(Reporter, "note", note_nan)
    with pytest.raises(DataError, match=r"finite, got nan at step 5 \(rank 0: samples \d+, "):
        train(config, tmp_path / "run")
    assert final_state(tmp_path / "run")["step"] == 4


def test_a_torn_checkpoint_is_named_and_the_one_before_it_used(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on from the older file, repeats it exactly, and replaces the torn one."""
    config = tiny_config(shard_folder, loop={"epochs": 1.3, "batch_size": 8}, **EVERY_STEP)
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(config, whole)
    shutil.copytree(whole, run, symlinks=True)
    newest = checkpoint.find(run)
    newest.write_bytes(newest.read_bytes()[:1000])
    assert train(config, run, resume=True).step == 6
    error = capsys.readouterr().err
    assert f"{newest.name} (" in error
    assert "going on from the one before" in error
    assert_equal(final_state(run), final_state(whole))
    assert losses(run) == losses(whole)


def test_the_best_checkpoint_stays(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """best.pt names the highest kNN score although keep=1, and a resumed run remembers it."""
    scores = map(OnlineScore, [0.1, 0.5, 0.7, 0.6, 0.7, 0.2, 0.3])
    monkeypatch.setattr(OnlineKnn, "__call__", lambda self, encoder, stop: next(scores))
    settings = {
        "eval": {"data": str(shard_folder), "k": 3, "every_epochs": 0.25},
        "run": {"log_every": 1, "keep": 1, "device": "cpu", "save_every_steps": 100},
    }
    config = tiny_config(shard_folder, loop={"epochs": 0.9, "batch_size": 8}, **settings)
    run = tmp_path / "run"
    outcome = train(config, run)  # the random encoder, then every 1.16 steps: 2, 3, 4
    assert outcome.best_step == 3
    assert [path.name for path in checkpoint.steps(run)] == ["step-00000003.pt", "step-00000004.pt"]
    assert checkpoint.load(checkpoint.find(run, "best"))["step"] == 3
    (run / "checkpoints" / "step-00000004.pt").unlink()
    outcome = train(config, run, resume=True)
    assert (outcome.best_step, outcome.knn[4]) == (3, 0.7)
    assert checkpoint.load(checkpoint.find(run, "best"))["step"] == 3


def test_a_changed_config_is_refused_by_key(shard_folder: Path, tmp_path: Path) -> None:
    """Another learning rate or batch cannot continue a run; the line names old and new."""
    short = {"loop": {"epochs": 0.5, "batch_size": 8}}
    train(tiny_config(shard_folder, **short), tmp_path / "run")
    changed = tiny_config(shard_folder, loop={"epochs": 0.5, "batch_size": 4})
    with pytest.raises(UsageError, match=r"got loop.batch_size: 8 -> 4; leave the change out"):
        train(changed, tmp_path / "run", resume=True)


def test_other_images_are_refused(shard_folder: Path, new_shards: Any, tmp_path: Path) -> None:
    """The same config on another data set cannot continue a run."""
    short = {"loop": {"epochs": 0.5, "batch_size": 8}}
    train(tiny_config(shard_folder, **short), tmp_path / "run")
    with pytest.raises(UsageError, match="continues on the images it began with"):
        train(tiny_config(new_shards(29), **short), tmp_path / "run", resume=True)


def test_a_finished_run_resumes_to_nothing(shard_folder: Path, tmp_path: Path) -> None:
    """Continuing at the end trains no step and changes no record."""
    config = tiny_config(shard_folder, loop={"epochs": 0.5, "batch_size": 8})
    train(config, tmp_path / "run")
    before = losses(tmp_path / "run")
    assert train(config, tmp_path / "run", resume=True).exit_code == 0
    assert losses(tmp_path / "run") == before
