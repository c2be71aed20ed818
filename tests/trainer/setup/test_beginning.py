"""A run that begins with given weights: who has them, what stays equal, what is read again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config
from toy_checkpoints import RESNET, encoder, features

from shards.errors import DataError, UsageError
from trainer import checkpoint
from trainer.config import TrainConfig
from trainer.evaluate import main as evaluate
from trainer.record.log import read_metrics
from trainer.record.starts import read_starts
from trainer.setup.beginning import Beginning, encoder_as_begun
from trainer.setup.networks import build_method
from trainer.train import train
from trainer.weights.match import read_given
from trainer.weights.source import sha256_of

SMALL = {**RESNET, "stem": "small"}


def begun(folder: Path, weights: Path, method: str = "simsiam", **changes: Any) -> TrainConfig:
    keys = {**SMALL, "weights": str(weights), **changes.pop("backbone", {})}
    loop = {"epochs": 1.0, "batch_size": 8}
    return tiny_config(folder, method, backbone=keys, loop=loop, **changes)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A torchvision-named file of the small encoder."""
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": encoder(SMALL).state_dict()}, path)
    return path


def trained(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(checkpoint.find(run))["method"]


@pytest.mark.parametrize("method", ["byol", "dino", "mocov2"])
def test_student_and_teacher_begin_alike(method: str, weights: Path, tmp_path: Path) -> None:
    """Both have the given weights; heads are those that the seed gives without them."""
    config = begun(tmp_path, weights, method)
    policy = config.policy.load()
    beginning = Beginning(config)
    state = build_method(config, policy, beginning.fill).state_dict()
    seeded = build_method(config, policy).state_dict()
    given = torch.load(weights)["state_dict"]
    teacher = next(n for n in ("target", "teacher", "key") if f"{n}_backbone.bn1.bias" in state)
    for name, value in given.items():
        assert torch.equal(state[f"backbone.{name}"], value)
        assert torch.equal(state[f"{teacher}_backbone.{name}"], value)
    heads = [name for name in state if "backbone." not in name]
    assert all(torch.equal(state[name], seeded[name]) for name in heads)
    assert beginning.taken is not None
    assert beginning.taken.sha256 == sha256_of(weights)


def test_a_rate_of_zero_leaves_the_features_equal(
    shard_folder: Path, weights: Path, tmp_path: Path
) -> None:
    """A step at the start of a warm-up from 0; norms that keep their statistics see to the rest."""
    run = tmp_path / "run"
    optim = {"name": "sgd", "warmup_epochs": 1.0}
    config = tiny_config(
        shard_folder,
        "simsiam",
        backbone={**SMALL, "weights": str(weights), "freeze_blocks": 4},
        optim=optim,
        loop={"epochs": 8 / 37, "batch_size": 8},
    )
    assert train(config, run).step == 1
    network = encoder(SMALL, seed=2)
    network.load_state_dict(checkpoint.child_weights({"method": trained(run)}, "backbone"))
    assert torch.equal(features(network), features(encoder(SMALL)))


def test_frozen_blocks_stay_as_they_were(shard_folder: Path, weights: Path, tmp_path: Path) -> None:
    """After four steps of BYOL stem and first block are equal, in the teacher too; others not."""
    run = tmp_path / "run"
    config = begun(shard_folder, weights, "byol", backbone={"freeze_blocks": 1})
    assert train(config, run).step == 4
    state, given = trained(run), torch.load(weights)["state_dict"]
    for name, value in given.items():
        is_frozen = name.startswith(("conv1.", "bn1.", "layer1."))
        for part in ("backbone", "target_backbone"):
            assert torch.equal(state[f"{part}.{name}"], value) == is_frozen, name


def test_random_blocks_are_not_frozen(shard_folder: Path, tmp_path: Path) -> None:
    """A recipe for going on, typed without weights, would train nothing but heads on noise."""
    config = tiny_config(shard_folder, "simsiam", backbone={**SMALL, "freeze_blocks": 1})
    with pytest.raises(UsageError, match=r"got 'freeze_blocks=1 alone'; add backbone\.weights"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_exactly_without_the_file(
    shard_folder: Path, weights: Path, tmp_path: Path
) -> None:
    """Cut and resumed with the file gone it ends with the weights of the run that was not cut."""
    runs = [tmp_path / "whole", tmp_path / "cut"]
    every = {"run": {"log_every": 1, "keep": 100, "device": "cpu", "save_every_steps": 1}}
    config = begun(shard_folder, weights, "byol", **every)
    for run in runs:
        train(config, run)
    for step in (3, 4):
        (runs[1] / "checkpoints" / f"step-{step:08d}.pt").unlink()
    weights.unlink()
    assert train(config, runs[1], resume=True).step == 4
    whole, cut = (trained(run) for run in runs)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_other_weights_are_another_run(shard_folder: Path, weights: Path, tmp_path: Path) -> None:
    """Nothing is read on a resume, so what is named there must be what was read."""
    train(begun(shard_folder, weights), tmp_path / "run")
    with pytest.raises(UsageError, match=r"config it began with, got backbone\.weights: .* -> "):
        train(begun(shard_folder, tmp_path / "x.pt"), tmp_path / "run", resume=True)


def test_what_was_taken_is_written_down(shard_folder: Path, weights: Path, tmp_path: Path) -> None:
    """File, sha256, layout and counts, in the first start and not in those that follow."""
    run = tmp_path / "run"
    train(begun(shard_folder, weights), run)
    train(begun(shard_folder, weights), run, resume=True)
    first, second = read_starts((run / "config.yaml").read_text())
    assert first["weights"]["file"] == str(weights)
    assert first["weights"]["sha256"] == sha256_of(weights)
    assert (first["weights"]["matched"], first["weights"]["of"]) == (60, 60)
    assert "weights" not in second


@pytest.mark.parametrize("what", ["gone", "foreign", "another"])
def test_wrong_weights_leave_nothing_behind(what: str, shard_folder: Path, tmp_path: Path) -> None:
    """No file, one without an encoder, another encoder's: refused before the folder is made."""
    path = tmp_path / "x.pt"
    if what != "gone":
        network = encoder({**SMALL, "width": 0.25})
        torch.save(network.state_dict() if what == "another" else {"a": torch.ones(1)}, path)
    with pytest.raises((UsageError, DataError)):
        train(begun(shard_folder, path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_and_its_export_are_weights(
    shard_folder: Path, weights: Path, tmp_path: Path
) -> None:
    """The folder of a run gives the encoder that is evaluated: DINO's teacher."""
    run = tmp_path / "run"
    train(begun(shard_folder, weights, "dino"), run)
    config = begun(shard_folder, run)
    beginning = Beginning(config)
    backbone = build_method(config, config.policy.load(), beginning.fill).backbone
    state = checkpoint.child_weights({"method": trained(run)}, "teacher_backbone")
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    assert beginning.taken is not None
    assert beginning.taken.layout == "our checkpoint, dino at step 4"
    assert beginning.taken.part == "teacher_backbone"
    student = read_given(str(run), "backbone")
    assert torch.equal(student.tensors["conv1.weight"], trained(run)["backbone.conv1.weight"])


def test_scores_before_training_are_the_given_weights(
    shard_folder: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While training and by `trainer.evaluate`, under that name; told when the file has changed."""
    run = tmp_path / "run"
    settings = {"data": str(shard_folder), "k": 3, "every_epochs": 0.5}
    train(begun(shard_folder, weights, eval=settings), run)
    assert "kNN of the given weights: " in capsys.readouterr().err
    knn = {r["step"]: r["knn"] for r in read_metrics(run) if "knn" in r}
    assert evaluate([str(run), "--device", "cpu"]) == 0
    row = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("given weights"))
    assert float(row.split()[2].rstrip("%")) / 100 == pytest.approx(knn[0], abs=0.006)
    torch.save({"state_dict": encoder(SMALL, seed=3).state_dict()}, weights)
    assert evaluate([str(run), "--device", "cpu"]) == 0
    assert "given weights   not scored: the score before training is of" in capsys.readouterr().out
    config = begun(shard_folder, weights)
    with pytest.raises(DataError, match="with another content"):
        encoder_as_begun(config, config.policy.load(), {"sha256": "0" * 64})
