"""An exported encoder is the trained one, loads without our code, and says how to feed it."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_run import tiny_config

from trainer import checkpoint
from trainer.encoders.encoder_file import describe, trained_encoder
from trainer.export import main as export
from trainer.nets.backbones import create_backbone
from trainer.setup.networks import build_method
from trainer.train import train


@pytest.mark.parametrize("method", ["simsiam", "dino"])
def test_the_encoder_comes_back(method: str, shard_folder: Path, tmp_path: Path) -> None:
    """Built from the metadata and loaded strictly, it gives the features of the trained encoder."""
    run, out = tmp_path / "run", tmp_path / "encoder.safetensors"
    train(tiny_config(shard_folder, method, loop={"epochs": 0.5, "batch_size": 8}), run)
    assert export([str(run), "--out", str(out)]) == 0
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
    backbone = create_backbone(
        metadata["arch"], width=float(metadata["width"]), stem=metadata["stem"]
    )
    backbone.load_state_dict(load_file(out))
    prefix = "teacher_backbone." if method == "dino" else "backbone."
    trained = checkpoint.load(checkpoint.find(run))["method"]
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, trained[prefix + name])
    assert backbone(torch.zeros(2, 3, 16, 16)).shape == (2, int(metadata["feature_dim"]))
    assert metadata["stem"] == "small"
    assert metadata["heads"] == "none"
    assert metadata["mean"].count(",") == 2
    assert (metadata["method"], metadata["step"]) == (method, "2")


@pytest.mark.parametrize("heads", [None, 12])
def test_a_vits_heads_are_told(shard_folder: Path, heads: int | None) -> None:
    """The weights are alike for any number of heads, so the metadata says which it is."""
    backbone = {"arch": "vit_tiny4", "stem": "auto", "width": 1.0, "heads": heads}
    config = tiny_config(shard_folder, "simsiam", backbone=backbone)
    weights = build_method(config, config.policy.load()).state_dict()
    encoder = trained_encoder(config, {"method": weights})
    metadata = describe(config, encoder, step=0)
    assert metadata["heads"] == str(heads or 3)


def test_what_cannot_be_exported_is_one_line(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another suffix, no run, no such checkpoint; nothing is written."""
    run, out = tmp_path / "run", tmp_path / "encoder.safetensors"
    train(tiny_config(shard_folder, "simsiam", loop={"epochs": 0.5, "batch_size": 8}), run)
    capsys.readouterr()
    for argv, part in (
        ([str(run), "--out", str(tmp_path / "x.pt")], "ends with .safetensors"),
        ([str(tmp_path / "none"), "--out", str(out)], "which is not there"),
        (
            [str(run), "--out", str(out), "--checkpoint", "best"],
            "highest kNN while training, got none in",
        ),
    ):
        assert export(argv) == 2
        error = capsys.readouterr().err
        assert part in error
        assert error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
