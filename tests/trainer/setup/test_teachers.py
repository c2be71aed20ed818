"""Frozen teachers by name: a run, a checkpoint, an export, a classifier; colours and refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config
from torch import nn

from shards.errors import DataError, UsageError
from trainer import checkpoint
from trainer.config import TrainConfig
from trainer.evaluate import main as evaluate
from trainer.export import main as export
from trainer.methods.protocol import Method
from trainer.nets.recoloured import Recoloured
from trainer.recipes.recipe import as_mapping, located, resolve
from trainer.record.continuation import changed_on_resume
from trainer.settings.strict import merge
from trainer.setup.networks import build_method
from trainer.train import train

SHORT = {"loop": {"epochs": 0.5, "batch_size": 8}}


def config_of(folder: Path, teachers: Any, **changes: Any) -> TrainConfig:
    values = as_mapping(tiny_config(folder, "simreg", **SHORT))
    return resolve(merge(merge(values, {"method": {"teachers": teachers}}), changes))


def built(config: TrainConfig) -> Method:
    return build_method(config, config.policy.load())


@pytest.fixture
def run(shard_folder: Path, tmp_path: Path) -> Path:
    """A DINO run, whose encoder is its own teacher; of a wider encoder than the students'."""
    config = tiny_config(shard_folder, "dino", **SHORT, backbone={"width": 0.25})
    train(config, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_may_be_named_in_many_ways(run: Path, shard_folder: Path, tmp_path: Path) -> None:
    """Folder, checkpoint, export: the encoder that is evaluated. A classifier: the tuned one."""
    exported = tmp_path / "encoder.safetensors"
    assert export([str(run), "--out", str(exported)]) == 0
    assert evaluate([str(run), "--eval-data", str(shard_folder), "--finetune", "1"]) == 0
    names = [str(run), str(checkpoint.find(run)), str(exported), str(run / "finetuned-1.pt")]
    method = built(config_of(shard_folder, names))
    wanted = checkpoint.child_weights(checkpoint.load(checkpoint.find(run)), "teacher_backbone")
    *same, tuned = method.get_submodule("teachers").children()
    for network in same:
        assert all(torch.equal(v, wanted[k]) for k, v in network.state_dict().items())
    assert tuned.state_dict().keys() == wanted.keys()
    assert not torch.equal(tuned.state_dict()["conv1.weight"], wanted["conv1.weight"])
    assert f"teacher: 60 of 60 tensors from {run}" in method.notes[0]
    assert "sees this run's" in method.notes[3]


def test_a_teacher_keeps_its_colours(run: Path, shard_folder: Path) -> None:
    """Where the student's views are normalised otherwise; else it stands there as it is."""
    alike = built(config_of(shard_folder, str(run))).get_submodule("teachers.0")
    other = built(config_of(shard_folder, str(run), policy={"mean": [0, 0, 0], "std": [1, 1, 1]}))
    recoloured = other.get_submodule("teachers.0")
    assert isinstance(recoloured, Recoloured)
    assert not isinstance(alike, Recoloured)
    pixels = torch.rand(2, 3, 16, 16)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (pixels - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    torch.testing.assert_close(recoloured(pixels), alike(normalised), rtol=1e-4, atol=1e-5)


def test_a_run_goes_on_with_its_teachers(run: Path, shard_folder: Path, tmp_path: Path) -> None:
    """With the teacher elsewhere; not with other weights, and not with one more."""
    train(config_of(shard_folder, [str(run)]), tmp_path / "half")
    run = run.rename(tmp_path / "moved")
    longer = config_of(shard_folder, [str(run)], loop={"epochs": 1.0})
    assert train(longer, tmp_path / "half", resume=True).step == 4
    more = config_of(shard_folder, [str(run), str(run)], loop={"epochs": 1.0})
    words = changed_on_resume(as_mapping(longer), more)
    assert words == ["method.teachers: ['a file'] -> ['a file', 'a file']"]
    state = torch.load(checkpoint.find(run), weights_only=True)
    state["method"]["teacher_backbone.conv1.weight"] += 1
    torch.save(state, tmp_path / "changed.pt")
    other = config_of(shard_folder, [str(tmp_path / "changed.pt")], loop={"epochs": 1.5})
    with pytest.raises(UsageError, match="continues with the teachers it began with"):
        train(other, tmp_path / "half", resume=True)


def test_names_hold_wherever_they_are_read(shard_folder: Path, monkeypatch) -> None:
    """A list of relative names becomes absolute; timm's stays."""
    monkeypatch.chdir(shard_folder.parent)
    values = located(config_of(shard_folder, ["a", "timm:resnet18"])).method.settings
    assert values["teachers"] == [str(shard_folder.parent / "a"), "timm:resnet18"]


def test_what_is_no_encoder_is_one_line(shard_folder: Path, tmp_path: Path) -> None:
    """Missing, torn, of unknown names, of an unknown network: each by the setting's name."""
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "foreign.pt")
    (tmp_path / "torn.pt").write_bytes(b"nothing")
    odd = {"conv1.weight": torch.zeros(4, 3, 3, 3), "bn1.weight": torch.zeros(4)}
    torch.save(odd | {"layer1.0.conv1.weight": torch.zeros(4, 4, 3, 3)}, tmp_path / "odd.pt")
    cases = [
        ("gone.pt", UsageError, r"method\.teachers is a file, a run or timm:NAME, got .*gone\.pt"),
        ("foreign.pt", DataError, r"method\.teachers names encoders, got .*save the encoder's"),
        ("torn.pt", DataError, r"method\.teachers names encoders, got .*torn\.pt"),
        ("odd.pt", UsageError, r"network is told by the file, got .*odd\.pt .*of an unknown one"),
    ]
    for name, kind, words in cases:
        with pytest.raises(kind, match=words) as found:
            built(config_of(shard_folder, str(tmp_path / name)))
        assert "weights_part" not in str(found.value)


def test_a_teacher_lacks_nothing(shard_folder: Path, run: Path, tmp_path: Path) -> None:
    """A frozen layer at random would never be noticed."""
    state = checkpoint.child_weights(checkpoint.load(checkpoint.find(run)), "teacher_backbone")
    del state["layer4.0.bn2.weight"]
    torch.save(state, tmp_path / "less.pt")
    with pytest.raises(
        DataError, match=r"has all its weights, got .*less\.pt without layer4\.0\.b"
    ):
        built(config_of(shard_folder, str(tmp_path / "less.pt")))


def test_an_export_needs_no_teacher(run: Path, shard_folder: Path, tmp_path: Path) -> None:
    """The student is exported with the teacher's run gone."""
    train(config_of(shard_folder, str(run)), tmp_path / "student")
    run.rename(tmp_path / "gone")
    assert export([str(tmp_path / "student"), "--out", str(tmp_path / "e.safetensors")]) == 0
    assert isinstance(built(tiny_config(shard_folder, "simreg")), nn.Module)
