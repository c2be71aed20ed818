"""How deep a parameter is, and what stays as it is when first blocks are frozen."""

import pytest
import torch
from torch import nn
from toy_checkpoints import RESNET, VIT, encoder

from shards.errors import UsageError
from trainer.nets.depth import depths, freeze_first
from trainer.nets.ema import frozen_copy


def test_depth_counts_blocks_from_the_stem_on() -> None:
    """Stem 0, blocks in turn, what follows them last; shortcuts belong to their block."""
    found, num_blocks = depths(encoder(RESNET))
    assert num_blocks == 4
    assert found["conv1.weight"] == found["bn1.bias"] == 0
    assert found["layer1.0.conv1.weight"] == 1
    assert found["layer4.0.downsample.0.weight"] == 4
    found, num_blocks = depths(encoder(VIT))
    assert num_blocks == 12
    assert found["cls_token"] == found["pos_embed"] == found["patch_embed.proj.bias"] == 0
    assert (found["blocks.0.norm1.weight"], found["blocks.11.mlp.fc2.bias"]) == (1, 12)
    assert found["norm.weight"] == 13


def test_stages_of_timm_count_as_blocks() -> None:
    """What leads from a stage to the next is of the block that it leads to."""
    first, second = ({"blocks": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))} for _ in range(2))
    second = {"downsample": nn.Linear(2, 2), **second}
    stages = nn.Sequential(nn.ModuleDict(first), nn.ModuleDict(second))
    network = nn.ModuleDict({"stem": nn.Linear(2, 2), "stages": stages, "head": nn.Linear(2, 2)})
    found, num_blocks = depths(network)
    assert num_blocks == 4
    assert found["stem.weight"] == 0
    assert found["stages.1.downsample.bias"] == 3
    assert (found["stages.1.blocks.1.weight"], found["head.weight"]) == (4, 5)


def test_a_frozen_resnets_blocks_compute_the_same_in_training() -> None:
    """No gradient, running statistics used and kept; in a teacher's copy likewise."""
    network = encoder(RESNET)
    freeze_first(network, 1)
    found, _ = depths(network)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {name for name, depth in found.items() if depth > 1}
    for copied in (network, frozen_copy(network)):
        before = {name: value.clone() for name, value in copied.state_dict().items()}
        images = torch.rand(4, 3, 16, 16)
        stem = nn.Sequential(*(copied.get_submodule(n) for n in ("conv1", "bn1", "layer1")))
        expected = stem.eval()(images)
        copied.train()
        assert torch.equal(stem(images), expected)
        copied(images)
        moved = {
            name for name, value in copied.state_dict().items() if (value != before[name]).any()
        }
        assert moved
        assert all(name.startswith(("layer2", "layer3", "layer4")) for name in moved)


def test_a_frozen_vits_blocks_drop_nothing() -> None:
    """Those after them still do."""
    network = encoder({**VIT, "drop_path": 0.5})
    freeze_first(network, 3)
    rates = [network.get_submodule(f"blocks.{i}.drop_path").rate for i in range(12)]
    assert rates[:3] == [0, 0, 0]
    assert all(rate > 0 for rate in rates[3:])


def test_what_cannot_be_frozen_is_one_line() -> None:
    """More blocks than there are, an encoder without any."""
    with pytest.raises(UsageError, match=r"freeze_blocks lies in \[0, 4\], .*got 5"):
        freeze_first(encoder(RESNET), 5)
    with pytest.raises(UsageError, match=r"need an encoder of blocks, .*got a Linear"):
        freeze_first(nn.Linear(2, 2), 1)
