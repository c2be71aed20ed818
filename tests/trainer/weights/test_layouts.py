"""Every layout's encoder is found by its names, taken whole, and gives the features it gave."""

from pathlib import Path

import pytest
import torch
from toy_checkpoints import (
    MAKERS,
    RESNET,
    VIT,
    encoder,
    features,
    head,
    other,
    under,
)

from shards.errors import DataError, UsageError
from trainer.weights.layouts import LAYOUTS, find_encoder
from trainer.weights.match import read_given
from trainer.weights.names import plain_names

# Their networks are timm's, which tests have none of: test_dialects.py has their names.
OF_TIMM = {"DINOv3", "DINOv2 with registers"}


def test_every_layout_has_a_checkpoint_here() -> None:
    """A row that is added to the table is tested, or this fails."""
    assert {layout.name for layout in LAYOUTS} == set(MAKERS) | OF_TIMM


@pytest.mark.parametrize("name", MAKERS)
def test_a_layouts_encoder_is_taken_whole(name: str, tmp_path: Path) -> None:
    """Found under its own name, no other encoder's tensors, equal features; head and queue left."""
    keys, make = MAKERS[name]
    original = encoder(keys)
    path = tmp_path / "checkpoint.pth"
    torch.save(make(dict(original.state_dict())), path)
    network = encoder(keys, seed=2)
    before = features(network)
    taken = read_given(str(path), None, next(iter(network.state_dict()))).fill(network)
    assert taken.layout == name
    assert (taken.matched, taken.missing, taken.left_over) == (taken.of, (), ())
    # A layer scale is multiplied into the layer before it, which rounds.
    tolerance = 5e-4 if name.startswith("DINOv2") else 0
    assert torch.allclose(features(network), features(original), rtol=0, atol=tolerance)
    assert not torch.allclose(before, features(original), rtol=1e-2)


@pytest.mark.parametrize("name", ["MoCo v1, v2", "DINO, whole", "solo-learn"])
def test_the_encoder_is_recognised(name: str, tmp_path: Path) -> None:
    """Depth, width, stem, patch and heads are told from the tensors."""
    keys, make = MAKERS[name]
    path = tmp_path / "checkpoint.pth"
    torch.save(make(dict(encoder(keys).state_dict())), path)
    assert dict(read_given(str(path)).backbone) == keys


def test_moco_v3s_twelve_heads_are_asked_for(tmp_path: Path) -> None:
    """Its weights fit a network of other heads, of other features: refused, with the key."""
    _, make = MAKERS["MoCo v3"]
    path = tmp_path / "checkpoint.pth"
    torch.save(make(dict(encoder({**VIT, "heads": 12}).state_dict())), path)
    given = read_given(str(path))
    assert given.backbone == {**VIT, "heads": 12}
    with pytest.raises(UsageError, match=r"got 3 for .* with 12; give backbone.heads=12"):
        given.fill(encoder(VIT))


def test_two_encoders_of_no_known_layout_are_refused(tmp_path: Path) -> None:
    """Which is meant is not guessed; the key that says it is named, and works."""
    tensors = dict(encoder(RESNET).state_dict())
    path = tmp_path / "checkpoint.pth"
    torch.save(under("left.", tensors) | under("right.", other(tensors)), path)
    with pytest.raises(DataError, match=r"encoders at left, right; .*weights_part=left"):
        read_given(str(path))
    network = encoder(RESNET, seed=2)
    read_given(str(path), "right").fill(network)
    assert torch.equal(network.get_parameter("conv1.weight"), tensors["conv1.weight"] + 1)
    with pytest.raises(DataError, match=r"got middle, which no tensor of .* has; there are left"):
        read_given(str(path), "middle")


def test_the_student_is_taken_when_it_is_asked_for(tmp_path: Path) -> None:
    """A known layout's choice is its authors', not a must."""
    keys, make = MAKERS["DINO, whole"]
    tensors = dict(encoder(keys).state_dict())
    path = tmp_path / "checkpoint.pth"
    torch.save(make(tensors), path)
    network = encoder(keys, seed=2)
    read_given(str(path), "student.backbone").fill(network)
    assert torch.equal(network.get_parameter("cls_token"), tensors["cls_token"] + 1)


def test_a_lone_encoder_needs_no_layout(tmp_path: Path) -> None:
    """Under whatever name, one encoder is that one."""
    found = find_encoder(under("net.trunk.", dict(encoder(RESNET).state_dict())), "x")
    assert (found.layout.name, found.layout.part) == ("names of its own", "net.trunk")


def test_a_network_of_another_kind_is_found_by_its_first_name() -> None:
    """What timm has and we have not: names that are no ResNet's and no ViT's."""
    tensors = under("module.net.", {"stem.0.weight": torch.ones(1), "stages.0.x": torch.ones(1)})
    assert find_encoder(plain_names(tensors, "x"), "x", None, "stem.0.weight").layout.part == "net"


def test_weights_without_an_encoder_are_refused() -> None:
    """With the first words of their names, which tell what it is instead."""
    with pytest.raises(DataError, match=r"got x with text, visual; give backbone.weights_part"):
        find_encoder(head("text.weight", "visual.weight"), "x")


def test_wrappers_are_no_part_of_a_name() -> None:
    """DDP's and torch.compile's words go wherever they are; two tensors of one name are refused."""
    one = torch.ones(1)
    names = {"model": {"module._orig_mod.a.b": one, "a.module.c": one}, "epoch": 3, 4: one}
    assert set(plain_names(names, "x")) == {"a.b", "a.c"}
    with pytest.raises(DataError, match=r"got two for a in x, one of them model\.a"):
        plain_names({"state_dict": {"a": one}, "model": {"a": one}}, "x")
