"""What fits is taken, what does not is told, and another network's weights are refused."""

from pathlib import Path

import pytest
import torch
from torch import nn
from toy_checkpoints import RESNET, VIT, encoder, features

from shards.errors import UsageError
from trainer.nets.backbones import create_backbone
from trainer.weights.match import read_given
from trainer.weights.recognise import recognise


def saved(tmp_path: Path, network: nn.Module) -> str:
    path = tmp_path / "weights.pt"
    torch.save(network.state_dict(), path)
    return str(path)


def test_a_shallower_encoder_is_no_deeper_one(tmp_path: Path) -> None:
    """Its tensors fill half of the other's: refused with the right key, and nothing changes."""
    given = read_given(saved(tmp_path, encoder(RESNET)))
    network = create_backbone("resnet18", width=0.125, stem="imagenet")
    before = features(network)
    with pytest.raises(UsageError, match=r"got 60 of 100, .* give backbone.arch=resnet10 .*0.125"):
        given.fill(network)
    assert torch.equal(features(network), before)


def test_a_deeper_encoder_is_no_shallower_one(tmp_path: Path) -> None:
    """It fills every tensor of the other and has as many again: refused all the same."""
    deep = create_backbone("resnet18", width=0.125, stem="imagenet")
    with pytest.raises(UsageError, match=r"got 60 of 60, and of 100 .*\(no place\)"):
        read_given(saved(tmp_path, deep)).fill(encoder(RESNET))


def test_another_kind_fills_nothing(tmp_path: Path) -> None:
    """A ViT's weights for a ResNet."""
    with pytest.raises(UsageError, match=r"got 0 of 60, .*give backbone.arch=vit_tiny8"):
        read_given(saved(tmp_path, encoder(VIT))).fill(encoder(RESNET))


def test_another_stem_keeps_its_first_values_and_says_so(tmp_path: Path) -> None:
    """One tensor of many does not fit: it is named with both shapes, the rest is taken."""
    network = encoder({**RESNET, "stem": "small"}, seed=2)
    first = network.get_parameter("conv1.weight").clone()
    taken = read_given(saved(tmp_path, encoder(RESNET))).fill(network)
    assert taken.missing == ("conv1.weight ([8, 3, 7, 7], not [8, 3, 3, 3])",)
    assert taken.matched == taken.of - 1
    assert torch.equal(network.get_parameter("conv1.weight"), first)
    assert "kept as the seed gave them: conv1.weight" in taken.describe()


def test_positions_and_patches_are_made_to_fit(tmp_path: Path) -> None:
    """Another size of views and of patches: taken whole, and told."""
    path = saved(tmp_path, encoder(VIT))  # 2 x 2 patches of 8 px
    network = create_backbone("vit_tiny4", image_size_px=16)
    taken = read_given(path).fill(network)
    assert taken.adapted == (
        "pos_embed (positions of 2 x 2 patches to 4 x 4)",
        "patch_embed.proj.weight (patches of 8 px to 4 px)",
    )
    assert taken.as_mapping()["adapted"] == list(taken.adapted)
    assert (taken.matched, taken.missing) == (taken.of, ())


def test_encoders_are_told_by_their_tensors() -> None:
    """Every kind of ours, and none that only looks like one."""
    for keys in (
        {"arch": "resnet18", "stem": "imagenet"},
        {"arch": "resnet50", "stem": "small"},
        {"arch": "resnet10", "width": 0.375, "stem": "half"},
        {"arch": "resnet50", "width": 2.0, "stem": "imagenet"},
        {"arch": "resnet50_sk", "stem": "imagenet"},
        {"arch": "vit_small16"},
        {"arch": "vit_base14"},
    ):
        size_px = 28 if keys["arch"].endswith("14") else 32
        with torch.device("meta"):
            network = create_backbone(**keys, image_size_px=size_px)
        assert recognise(network.state_dict()) == keys
    with torch.device("meta"):
        tensors = create_backbone("resnet50").state_dict()
        tensors["layer1.0.conv2.weight"] = torch.empty(128, 4, 3, 3)  # a ResNeXt's
        assert recognise(tensors) == {}
    assert recognise({}) == {}
