"""Other names for the same network; and one line where it is another network."""

import pytest
import torch
from torch import nn
from toy_checkpoints import VIT, encoder, features

from shards.errors import UsageError
from trainer.weights.dialects import in_words_of, renamed


def test_torchvisions_vit_is_ours() -> None:
    """Its names, written back from ours, give our names again and the same tensors."""
    own = dict(encoder(VIT).state_dict())
    torchvisions = {}
    for name, value in own.items():
        for ours, theirs in (
            ("cls_token", "class_token"), ("patch_embed.proj", "conv_proj"),
            ("pos_embed", "encoder.pos_embedding"), ("blocks.", "encoder.layers.encoder_layer_"),
            ("norm1", "ln_1"), ("norm2", "ln_2"), ("attn.qkv.", "self_attention.in_proj_"),
            ("attn.proj", "self_attention.out_proj"), ("mlp.fc1", "mlp.0"), ("mlp.fc2", "mlp.3"),
        ):  # fmt: skip
            name = name.replace(ours, theirs)
        torchvisions[name.replace("norm.", "encoder.ln.")] = value
    assert renamed(torchvisions).keys() == own.keys()
    network = encoder(VIT, seed=2)
    network.load_state_dict(renamed(torchvisions))
    assert torch.equal(features(network), features(encoder(VIT)))


def test_lightlys_own_resnet_is_the_small_one() -> None:
    """Its stages begin at 2, its shortcuts have another name."""
    theirs = {"0.weight": 1, "1.bias": 2, "2.0.conv1.weight": 3, "3.0.shortcut.0.weight": 4}
    ours = ["conv1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight"]
    assert list(renamed({k: torch.tensor(v) for k, v in theirs.items()})) == ours


def test_dinov2s_registers_in_timms_words() -> None:
    """The class token takes its position, registers have none; mask tokens stay behind."""
    tensors = {"cls_token": torch.ones(1, 1, 2), "register_tokens": torch.zeros(1, 4, 2)}
    tensors |= {"pos_embed": torch.arange(10.0).reshape(1, 5, 2)}
    found = in_words_of({"cls_token", "reg_token", "pos_embed"}, tensors, None)
    assert found["cls_token"].tolist() == [[[1, 2]]]
    assert found["pos_embed"].shape == (1, 4, 2)
    assert found["reg_token"].shape == (1, 4, 2)


@pytest.mark.parametrize("name", ["register_tokens", "storage_tokens"])
def test_registers_are_not_dropped_in_silence(name: str) -> None:
    """An encoder without them would be another function: the arch that has them is named."""
    network = encoder(VIT).state_dict().keys()
    tensors = {name: torch.zeros(1, 4, 192), "cls_token": torch.zeros(1, 1, 192)}
    tensors["pos_embed"] = torch.zeros(1, 5, 192)
    with pytest.raises(UsageError, match=r"with registers for one without; give --arch timm:x"):
        in_words_of(network, tensors, "timm:x")


def test_rotated_positions_are_not_dropped_in_silence() -> None:
    """Nor are positions that are no table."""
    tensors = {"rope_embed.periods": torch.zeros(4)}
    with pytest.raises(UsageError, match="rotated positions"):
        in_words_of(encoder(VIT).state_dict().keys(), tensors, None)


def test_dinov3s_masked_bias_in_timms_words() -> None:
    """Queries and values have theirs, keys none; scales have another name."""
    bias = torch.arange(6.0)
    tensors = {"blocks.0.attn.qkv.bias": bias, "blocks.0.ls1.gamma": torch.ones(2)}
    tensors |= {"blocks.0.attn.qkv.bias_mask": torch.tensor([1.0, 1, 0, 0, 1, 1])}
    network = {"blocks.0.attn.q_bias", "blocks.0.attn.v_bias", "blocks.0.gamma_1", "reg_token"}
    found = in_words_of(network, tensors, None)
    assert found["blocks.0.attn.q_bias"].tolist() == [0, 1]
    assert found["blocks.0.attn.v_bias"].tolist() == [4, 5]
    assert found.keys() == network - {"reg_token"}
    # A network without biases: those that are 0 may go, others are left to be told.
    assert "blocks.0.attn.qkv.bias" in in_words_of({"reg_token"}, tensors, None)
    tensors["blocks.0.attn.qkv.bias"] = torch.zeros(6)
    assert "blocks.0.attn.qkv.bias" not in in_words_of({"reg_token"}, tensors, None)


def test_a_scale_is_multiplied_into_the_layer_before_it() -> None:
    """x + g f(x) with f's last layer scaled: the same outputs."""
    layer, gamma, x = nn.Linear(3, 2), torch.rand(2), torch.rand(4, 3)
    tensors = {f"blocks.0.attn.proj.{k}": v for k, v in layer.state_dict().items()}
    found = in_words_of({"pos_embed"}, tensors | {"blocks.0.ls1.gamma": gamma}, None)
    scaled = nn.functional.linear(
        x, found["blocks.0.attn.proj.weight"], found["blocks.0.attn.proj.bias"]
    )
    assert torch.allclose(scaled, gamma * layer(x))
    assert found.keys() == tensors.keys()
