"""What may be given as weights: files, runs, timm; read without running code, or refused."""

import argparse
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from toy_checkpoints import RESNET, encoder

from shards.errors import DataError, UsageError
from trainer.weights.match import read_given
from trainer.weights.source import check_source, read_source, sha256_of


class Malicious:
    """Unpickled, it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_runs_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    """One line, with what it wanted and how to convert it; the code has not run."""
    path, made = tmp_path / "x.ckpt", tmp_path / "made"
    state = {"state_dict": encoder(RESNET).state_dict(), "hyper_parameters": Malicious(made)}
    torch.save(state, path)
    rule = r"without running code, got .*x.ckpt, which would run posix.mkdir; .*convert it once"
    with pytest.raises(DataError, match=rule):
        read_source(str(path))
    assert not made.exists()


def test_a_namespace_of_arguments_is_no_code(tmp_path: Path) -> None:
    """DINO's, MAE's and timm's checkpoints hold the arguments they were made with."""
    path = tmp_path / "x.pth"
    torch.save({"model": encoder(RESNET).state_dict(), "args": argparse.Namespace(lr=1)}, path)
    assert "conv1.weight" in read_source(str(path)).tensors


def test_safetensors_are_told_by_their_content(tmp_path: Path) -> None:
    """Whatever the name; the sha256 is the file's."""
    path = tmp_path / "weights.bin"
    save_file(dict(encoder(RESNET).state_dict()), path)
    source = read_source(str(path))
    assert source.sha256 == sha256_of(path)
    assert read_given(str(path)).fill(encoder(RESNET, seed=2)).missing == ()


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04torn", b"\x10" + b"\0" * 7 + b"{"]
)
def test_a_file_that_is_none_is_one_line(content: bytes, tmp_path: Path) -> None:
    """Empty, text, a torn zip, a torn safetensors."""
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a whole file of torch or safetensors, got .*x\.pth"):
        read_source(str(path))


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    """No file, a folder that is no run, a file without tensors."""
    with pytest.raises(UsageError, match=r"a file, a run or timm:NAME, got .*gone.*not there"):
        check_source(str(tmp_path / "gone.pth"))
    with pytest.raises(UsageError, match=r"a folder given as backbone\.weights is a run"):
        check_source(str(tmp_path))
    torch.save({"epoch": 3}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="hold tensors, got none"):
        read_source(str(tmp_path / "x.pt"))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """NaN in what is taken; in a head that stays behind it does not matter."""
    tensors = dict(encoder(RESNET).state_dict())
    tensors["fc.weight"] = torch.full((2, 2), torch.nan)
    torch.save(tensors, tmp_path / "x.pt")
    read_given(str(tmp_path / "x.pt")).fill(encoder(RESNET, seed=2))
    tensors["bn1.running_var"] = tensors["bn1.running_var"] * torch.inf
    torch.save(tensors, tmp_path / "x.pt")
    network = encoder(RESNET, seed=2)
    before = network.get_parameter("conv1.weight").clone()
    with pytest.raises(DataError, match=r"NaN or infinity in 1 tensor of .*bn1.running_var"):
        read_given(str(tmp_path / "x.pt")).fill(network)
    assert torch.equal(network.get_parameter("conv1.weight"), before)


def test_timm_is_asked_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pretrained weights by name and tag, its arch without it; the random state is kept."""

    def create(name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        assert (name, pretrained, num_classes) == ("resnet18.a1_in1k", True, 0)
        torch.rand(3)
        return encoder(RESNET)

    fake: Any = types.ModuleType("timm")
    fake.create_model, fake.__version__ = create, "1.0"
    fake.list_pretrained = lambda: ["resnet18.a1_in1k"]
    monkeypatch.setitem(sys.modules, "timm", fake)
    state = torch.get_rng_state()
    given = read_given("timm:resnet18.a1_in1k")
    assert torch.equal(torch.get_rng_state(), state)
    assert given.backbone["arch"] == "timm:resnet18"
    assert given.source.where == "timm:resnet18.a1_in1k (timm 1.0)"
    assert given.fill(encoder(RESNET, seed=2)).missing == ()
    with pytest.raises(UsageError, match="unknown timm weights 'resnet19'"):
        check_source("timm:resnet19")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="needs timm, which is not installed"):
        check_source("timm:resnet18")
