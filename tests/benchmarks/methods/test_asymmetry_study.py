"""Sixteen runs that differ in four switches, made once each, and what the command refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from benchmarks.methods import asymmetry_study as study
from shards.errors import DataError
from trainer.methods.method_table import create_method
from trainer.nets.backbones import create_backbone
from trainer.settings.strict import merge, parse_override


def settings_of(what: study.Switches) -> tuple[str, dict[str, Any], float]:
    words, values = what.words(), {}
    for word in words[2:]:
        values = merge(values, parse_override(word))
    return words[1], values["method"], values["optim"]["base_lr"]


def test_each_switch_is_one_setting() -> None:
    """Sixteen different runs that build; all else is alike."""
    assert len(set(study.ALL)) == 16
    for what in study.ALL:
        name, settings, rate = settings_of(what)
        assert name == ("mocov2" if what.negatives else "byol")
        assert settings["predictor"] is what.predictor
        assert settings["symmetric"] is what.symmetric
        assert (settings["momentum"] > 0) == settings["ramp"] == what.momentum
        assert rate == (0.2 if what.symmetric else 0.4)
        backbone = create_backbone("resnet10", width=0.125, stem="small")
        method = create_method(name, backbone, settings)
        layers = method.get_submodule("projector").children()
        heads = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
        assert heads == [256, 64]
        assert any("predictor" in key for key, _ in method.named_parameters()) == what.predictor
        assert method.sync_batch_norm


def test_rows_are_made_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that fails is made again by the next call, the others are not."""
    done: list[list[str]] = []

    def train_once(words: list[str], run: Path, *more: str) -> dict[str, Any]:
        done.append([*words, *more])
        if len(done) == 3:
            raise DataError("no room")
        return {"knn": 0.5, "random_knn": 0.2, "std": 0.1}

    monkeypatch.setattr(study, "train_once", train_once)
    out = ["--out", str(tmp_path / "rows.json"), "--epochs", "2"]
    assert study.main(out) == 1
    assert len(json.loads((tmp_path / "rows.json").read_text())["rows"]) == 15
    assert study.main(out) == 0
    assert len(done) == 17
    assert done[16] == done[2]
    assert done[0][:4] == ["--config", "byol_demo", "--views", "2"]
    assert study.main([*out, "--set", "s=a,b"]) == 0
    assert done[-1][-4:] == ["--data", "a", "--eval-data", "b"]
    assert study.main([*out, "--print"]) == 0
    assert len(done) == 33
    assert "+30.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--set x", "--set reads NAME=TRAIN,EVAL, got 'x'"),
        ("--seeds one", "--seeds are whole numbers, got one"),
        ("--epochs 0", "--epochs is positive, got 0"),
        ("--print", "has no rows; run without --print first"),
    ],
)
def test_the_command_refuses_in_a_line(
    flags: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not asked for rightly ends before a run begins, and leaves nothing."""
    assert study.main(["--out", str(tmp_path / "rows.json"), *flags.split()]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
