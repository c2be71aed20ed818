"""The same network under other names: an encoder's tensors renamed to those of ours or of timm.

ResNets are renamed to torchvision's names, ViTs to timm's, which are ours. What our ViT lacks is
computed away where that leaves the function as it was: DINOv2's layer scale, x + g f(x), goes into
the last linear layer of f. Where it cannot be, as for registers and rotated positions, one line
says which arch has them.
Names read in: lightly-ai/lightly examples/pytorch/simsiam.py and lightly/models/resnet.py;
pytorch/vision torchvision/models/vision_transformer.py; facebookresearch/dinov2
dinov2/models/vision_transformer.py (BlockChunk, LayerScale); facebookresearch/dinov3
dinov3/layers/attention.py; huggingface/pytorch-image-models timm/models/vision_transformer.py
(_convert_dinov2) and timm/models/eva.py (checkpoint_filter_fn).

Legend: D features, P patches.
"""

import re
from collections.abc import Collection, Mapping

import torch

from shards.errors import UsageError

Tensors = dict[str, torch.Tensor]
_CHUNK = re.compile(r"^blocks\.\d+\.(\d+)\.")
_TORCHVISION_VIT = (
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+)\.ln_([12])\.", r"\1.norm\2."),
    (r"^(blocks\.\d+)\.self_attention\.in_proj_", r"\1.attn.qkv."),
    (r"^(blocks\.\d+)\.self_attention\.out_proj\.", r"\1.attn.proj."),
    (r"^(blocks\.\d+)\.mlp\.(?:0|linear_1)\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.mlp\.(?:3|linear_2)\.", r"\1.mlp.fc2."),
)
# nn.Sequential(*resnet.children()): torchvision's has ReLU and pooling at 2 and 3.
_SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_OF_LIGHTLY = {"0": "conv1", "1": "bn1", "2": "layer1", "3": "layer2", "4": "layer3", "5": "layer4"}
# Of DINOv3's file: positions that are computed, a bias's mask, a norm of local crops in training.
_COMPUTED = re.compile(r"^(rope_embed\.|local_cls_norm\.|.*\.bias_mask$)")


def renamed(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """An encoder's tensors by torchvision's (ResNet) or timm's (ViT) names."""
    if "conv_proj.weight" in tensors:
        return {_substituted(name, _TORCHVISION_VIT): value for name, value in tensors.items()}
    for anchor, table in (("4.0.conv1.weight", _SEQUENTIAL), ("2.0.conv1.weight", _OF_LIGHTLY)):
        if anchor in tensors and "0.weight" in tensors:
            return {_from_sequential(name, table): value for name, value in tensors.items()}
    if any(_CHUNK.match(name) for name in tensors):
        return {_CHUNK.sub(r"blocks.\1.", name): value for name, value in tensors.items()}
    return dict(tensors)


def in_words_of(
    network: Collection[str],  # names of its tensors
    tensors: Mapping[str, torch.Tensor],  # renamed
    arch: str | None,  # that has what these weights have, where it is known
) -> Tensors:
    """The same as the network's own names have it.

    Raises:
        UsageError: the weights are of a function that this network is not.
    """
    result = {name: value for name, value in tensors.items() if not _COMPUTED.match(name)}
    masks = {k: v for k, v in tensors.items() if k.endswith("qkv.bias_mask")}
    if "storage_tokens" in result:
        result["reg_token"] = result.pop("storage_tokens")
    if "register_tokens" in result:
        result = _with_class_position(result)
    if "reg_token" in result and "reg_token" not in network:
        _refuse("registers", arch)
    if any(name.startswith("rope_embed.") for name in tensors) and "pos_embed" in network:
        _refuse("rotated positions", arch)
    if masks:
        result = _without_key_bias(network, result, masks)
    return _with_layer_scale(network, result)


def _with_class_position(tensors: Tensors) -> Tensors:
    """DINOv2's class token has a position, registers have none; timm adds it to the token."""
    result = dict(tensors)
    result["reg_token"] = result.pop("register_tokens")
    positions = result["pos_embed"]
    result["cls_token"] = result["cls_token"] + positions[:, :1]
    result["pos_embed"] = positions[:, 1:]
    return result


def _without_key_bias(network: Collection[str], tensors: Tensors, masks: Tensors) -> Tensors:
    """DINOv3 masks the bias of the keys; timm has q_bias and v_bias, or none where all are 0."""
    result = dict(tensors)
    for name in (name.removesuffix("_mask") for name in masks):
        q, _, v = result[name].chunk(3)
        stem = name.removesuffix("qkv.bias")
        if f"{stem}q_bias" in network:
            del result[name]
            result |= {f"{stem}q_bias": q, f"{stem}v_bias": v}
        elif name not in network and not (q.any() or v.any()):
            del result[name]
    return result


def _with_layer_scale(network: Collection[str], tensors: Tensors) -> Tensors:
    """Under timm's name for it, or multiplied into the linear layer before it."""
    result: Tensors = dict(tensors)
    for name in tensors:
        match = re.fullmatch(r"(blocks\.\d+)\.ls([12])\.gamma", name)
        if match is None or name in network:
            continue
        block, which = match[1], match[2]
        gamma = result.pop(name)
        if f"{block}.gamma_{which}" in network:
            result[f"{block}.gamma_{which}"] = gamma
            continue
        last = f"{block}.attn.proj" if which == "1" else f"{block}.mlp.fc2"
        for kind in ("weight", "bias"):
            value = result.get(f"{last}.{kind}")
            if value is not None:
                scale = gamma[:, None] if kind == "weight" else gamma
                result[f"{last}.{kind}"] = value.float() * scale.float()
    return result


def _refuse(what: str, arch: str | None) -> None:
    instead = f"--arch {arch}" if arch else "a timm arch that has them (docs/weights.md)"
    raise UsageError(
        f"an encoder has what its weights are of, got weights with {what} for one without; "
        f"give {instead}"
    )


def _substituted(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _from_sequential(name: str, table: Mapping[str, str]) -> str:
    first, dot, rest = name.partition(".")
    return table.get(first, first) + dot + rest.replace("shortcut.", "downsample.")
