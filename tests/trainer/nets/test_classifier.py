"""The classifier's file: it is built again from itself, and refuses what it is not."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from shards.errors import DataError, UsageError
from trainer.nets.backbones import create_backbone
from trainer.nets.classifier import (
    VERSION,
    Classifier,
    first_layers,
    load_classifier,
    save_classifier,
)
from trainer.nets.heads import mlp

BACKBONE = {"arch": "resnet10", "image_size_px": 16, "stem": "small", "width": 0.125}


def make(num_layers: int) -> Classifier:
    torch.manual_seed(0)
    encoder = create_backbone(**BACKBONE)
    head = mlp((64, 12, 10, 8), hidden_bias=False, out_bias=True)
    return Classifier(encoder, first_layers(head, num_layers), 5, tuple("edcba"))


@pytest.mark.parametrize("num_layers", [0, 1, 2])
def test_a_file_builds_the_same_network(num_layers: int, tmp_path: Path) -> None:
    """Encoder, kept layers, running statistics, names come back: the same scores for new images."""
    classifier, images = make(num_layers), torch.randn(6, 3, 16, 16)
    nn.init.normal_(classifier.linear.weight)
    classifier(images)  # moves the running statistics
    save_classifier(tmp_path / "c.pt", classifier, BACKBONE)
    again = load_classifier(tmp_path / "c.pt")
    assert torch.equal(again.eval()(images), classifier.eval()(images))
    assert [type(layer) for layer in again.neck] == [type(layer) for layer in classifier.neck]
    assert again.classes == tuple("edcba")


def test_a_file_without_names_is_read(tmp_path: Path) -> None:
    """Of the time before classifiers kept them: it has none."""
    save_classifier(tmp_path / "c.pt", make(0), BACKBONE)
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    del state["classes"]
    torch.save(state, tmp_path / "c.pt")
    assert load_classifier(tmp_path / "c.pt").classes == ()


def test_it_starts_from_zeros() -> None:
    """Every class gets the same score at first."""
    assert (make(1)(torch.randn(4, 3, 16, 16)) == 0).all()


@pytest.mark.parametrize(("num_layers", "kinds"), [
    (0, []), (1, ["Linear", "BatchNorm1d", "ReLU"]),
    (2, ["Linear", "BatchNorm1d", "ReLU"] * 2),
])  # fmt: skip
def test_first_layers(num_layers: int, kinds: list[str]) -> None:
    """Each kept linear layer comes with what follows it."""
    head = mlp((64, 12, 10, 8), hidden_bias=False, out_bias=True, out_norm=True)
    assert [type(layer).__name__ for layer in first_layers(head, num_layers)] == kinds


@pytest.mark.parametrize(
    ("head", "asked", "most"),
    [(mlp((8, 6, 4), hidden_bias=True, out_bias=True), 2, 1), (nn.Linear(3, 4), 1, 0),
     (None, 1, 0), (mlp((8, 6, 4), hidden_bias=True, out_bias=True), -1, 1)],
)  # fmt: skip
def test_more_layers_than_there_are_to_keep(head: nn.Module | None, asked: int, most: int) -> None:
    """The last layer, and those of a head that is not there, are refused with the limit."""
    with pytest.raises(UsageError, match=rf"projector are 0 to {most}, got {asked}"):
        first_layers(head, asked)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """No file, another kind of file, another version: one line that says what to do."""
    torch.save({"weights": 1}, tmp_path / "other.pt")
    torch.save({"version": VERSION + 1}, tmp_path / "newer.pt")
    for name, message in (
        ("none.pt", "FileNotFoundError); write one"),
        ("other.pt", "KeyError); write one"),
        ("newer.pt", f"version is {VERSION}, got {VERSION + 1} in"),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            load_classifier(tmp_path / name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("neck", [("System", {})]),
        ("neck", [("Linear", {"in_features": 2})]),
        ("neck", 3),
        ("backbone", {"arch": "resnet10", "depth": 4}),
        ("backbone", None),
        ("num_classes", -1),
        ("num_classes", "many"),
        ("weights", {}),
        ("weights", [1]),
    ],
    ids=str,
)
def test_a_file_that_does_not_fit_itself_is_one_line(
    key: str, value: object, tmp_path: Path
) -> None:
    """Whatever a stranger wrote into it."""
    save_classifier(tmp_path / "c.pt", make(0), BACKBONE)
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    torch.save({**state, key: value}, tmp_path / "c.pt")
    with pytest.raises(DataError, match=r"says how to build its own weights, got .*; write it"):
        load_classifier(tmp_path / "c.pt")
