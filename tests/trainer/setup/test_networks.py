"""The encoder alone: what export and evaluation build, and what they do not need."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_run import tiny_config
from torch import nn

from shards.errors import DataError, UsageError
from trainer import checkpoint
from trainer.encoders.encoder_file import trained_encoder
from trainer.evaluate import main as evaluate
from trainer.export import main as export
from trainer.methods import distill
from trainer.methods.method_table import METHODS
from trainer.nets.backbones import create_backbone
from trainer.nets.classifier import Classifier, save_classifier
from trainer.recipes.recipe import as_mapping, resolve
from trainer.record.rundir import read_config
from trainer.settings.strict import merge
from trainer.setup.networks import (
    build_backbone,
    build_encoder,
    build_head,
    build_method,
    load_weights,
)
from trainer.train import train

BACKBONE = {"arch": "resnet10", "width": 0.125, "stem": "small", "image_size_px": 16}
SHORT = {"loop": {"epochs": 0.5, "batch_size": 8}}


@pytest.mark.parametrize("method", METHODS)
def test_the_encoder_is_the_methods(method: str, tmp_path: Path) -> None:
    """Alone it has the names and the first weights that it has inside the method."""
    config = tiny_config(tmp_path, method)
    policy = config.policy.load()
    inside = build_method(config, policy).encoder
    alone = build_encoder(config, policy, inside.state_dict())
    head = build_head(config, alone, "projector")
    assert head is None or all(not value.is_meta for value in head.state_dict().values())
    assert alone.state_dict().keys() == inside.state_dict().keys()
    for name, value in alone.state_dict().items():
        assert torch.equal(value, inside.state_dict()[name]), name


def test_an_encoder_takes_what_the_method_cuts(tmp_path: Path) -> None:
    """Fast-MoCo's patches of 8 px are no multiple of a ViT's 16, whole views are: one line."""
    backbone = {"arch": "vit_tiny16", "width": 1.0, "stem": "auto"}
    for method, is_taken in (("mocov3", True), ("fastmoco", False)):
        changes = {"backbone": backbone, "policy": {"views": "2", "sizes": "16"}}
        config = resolve(merge(as_mapping(tiny_config(tmp_path, method)), changes))
        policy = config.policy.load()
        assert {group.size_px for group in policy.groups} == {16}
        if is_taken:
            build_backbone(config, policy)
            continue
        with pytest.raises(UsageError, match=r"got 8 px .*\(fastmoco makes images of 8 px of them"):
            build_backbone(config, policy)


def test_a_student_needs_no_teacher(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported, scored and fine-tuned from another folder with the teacher's file gone."""
    teacher = tmp_path / "teacher.pt"
    save_classifier(teacher, Classifier(create_backbone(**BACKBONE), nn.Sequential(), 3), BACKBONE)
    changes = {"method": {"teacher": str(teacher)}, "eval": {"data": str(shard_folder), "k": 3}}
    changes["backbone"] = {"width": 0.25}
    config = resolve(merge(as_mapping(tiny_config(shard_folder, "distill", **SHORT)), changes))
    train(config, tmp_path / "run")
    teacher.unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert export(["../run", "--out", "student.safetensors"]) == 0
    assert evaluate(["../run"]) == 0
    assert evaluate(["../run", "--finetune", "1", "--finetune-epochs", "1"]) == 0


@pytest.mark.parametrize(
    ("method", "setting"),
    [("mocov2", {"queue_length": 2**31}), ("nnclr", {"queue_length": 2**31})],
)
def test_a_memory_is_not_made_to_export(method: str, setting: dict, tmp_path: Path) -> None:
    """A queue of billions of rows costs an export nothing, and a projector's layers neither."""
    config = tiny_config(tmp_path, method)
    policy = config.policy.load()
    state = {"method": build_method(config, policy).state_dict(), "step": 1}
    huge = resolve(merge(as_mapping(config), {"method": setting}))
    with pytest.raises(UsageError, match="fit into memory"):
        build_method(huge, policy)
    encoder = trained_encoder(huge, state)
    head = build_head(huge, encoder, "projector")
    assert head is not None
    load_weights(head, checkpoint.child_weights(state, "projector"))
    assert all(value.device.type == "cpu" for value in head.state_dict().values())
    assert build_head(huge, encoder, "nothing") is None


def test_what_a_constructor_needs_is_not_needed(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export constructs no method at all."""
    train(tiny_config(shard_folder, "distill", **SHORT), tmp_path / "run")

    def fail(*_: Any) -> None:
        raise AssertionError("a method was constructed")

    monkeypatch.setattr(distill.Distill, "__init__", fail)
    assert export([str(tmp_path / "run"), "--out", str(tmp_path / "e.safetensors")]) == 0


def test_another_network_is_one_line(shard_folder: Path, tmp_path: Path) -> None:
    """A config.yaml that somebody changed does not describe the checkpoint's encoder."""
    run = tmp_path / "run"
    train(tiny_config(shard_folder, "simsiam", **SHORT), run)
    values = yaml.safe_load((run / "config.yaml").read_text())
    values["backbone"]["width"] = 0.25
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    state = checkpoint.load(checkpoint.find(run))
    with pytest.raises(DataError, match=r"that its config\.yaml describes, got another"):
        trained_encoder(read_config(run), state)


def test_encoder_name_is_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that names another child than its class would be exported wrongly: refused."""
    config = tiny_config(tmp_path, "dino")
    method = build_method(config, config.policy.load())
    original = type(method).__init__

    def renamed(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        self.encoder_name = "backbone"

    monkeypatch.setattr(type(method), "__init__", renamed)
    with pytest.raises(UsageError, match="encoder_name is said by its class, got 'backbone'"):
        build_method(config, config.policy.load())


def test_every_crop_size_is_tried_first(tmp_path: Path) -> None:
    """A local crop or an evaluation size that the ViT cannot take is refused when it is built."""
    values = {"backbone": {"arch": "vit_tiny8", "stem": "auto", "width": 1.0}}
    config = tiny_config(tmp_path, "simsiam", **values)
    assert build_backbone(config, config.policy.load()) is not None
    for changes in ({"policy": {"sizes": "16+12"}}, {"eval": {"size_px": 12}}):
        wrong = tiny_config(tmp_path, "simsiam", **merge(values, changes))
        with pytest.raises(UsageError, match="multiple of the ViT's patch, got 12 px and 8 px"):
            build_backbone(wrong, wrong.policy.load())
