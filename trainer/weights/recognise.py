"""The encoder of tensors: depth, width, stem or patch, told by names and shapes alone.

A run that is given weights and no arch takes this one (fitted_config.py), and one with another arch
is told it.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from trainer.nets.resnet import DEPTHS, Bottleneck
from trainer.nets.vit import NUM_BLOCKS, PATCHES_PX, SIZES

_STEM_SIDES = {"small": 3, "half": 4}  # of their first kernels
_TIMM_SIZES = {384: "small", 768: "base", 1024: "large"}


def recognise(
    tensors: Mapping[str, torch.Tensor],  # by torchvision's or timm's names
    heads: int | None = None,  # of a ViT, where the file or its layout tells
) -> dict[str, Any]:
    """The keys of `backbone` that build it, such as {"arch": "vit_small16"}; empty: not known."""
    if "patch_embed.proj.weight" in tensors:
        return _vit(tensors, heads)
    if "layer1.0.conv1.weight" in tensors:
        return _resnet(tensors)
    return {}


def _resnet(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    repeats = tuple(
        len({m[1] for name in tensors if (m := re.match(rf"layer{stage}\.(\d+)\.", name))})
        for stage in (1, 2, 3, 4)
    )
    is_bottleneck = "layer1.0.conv3.weight" in tensors
    is_sk = "layer1.0.conv2.squeeze.weight" in tensors
    depth = next(
        (
            depth
            for depth, (block, counts) in DEPTHS.items()
            if counts == repeats and (block is Bottleneck) == is_bottleneck
        ),
        None,
    )
    norm, first = tensors.get("bn1.weight"), tensors.get("conv1.weight")
    if depth is None or norm is None or norm.ndim != 1 or (first is None and not is_sk):
        return {}
    second = tensors.get("layer1.0.conv2.weight")
    if second is not None and second.shape[:2] != (len(norm), len(norm)):
        return {}  # of groups, or wider inside
    keys: dict[str, Any] = {"arch": f"resnet{depth}_sk" if is_sk else f"resnet{depth}"}
    if len(norm) != 64:
        keys["width"] = len(norm) / 64
    side = None if first is None else first.shape[-1]
    keys["stem"] = next((stem for stem, own in _STEM_SIDES.items() if side == own), "imagenet")
    return keys


def _vit(tensors: Mapping[str, torch.Tensor], heads: int | None) -> dict[str, Any]:
    filters = tensors["patch_embed.proj.weight"]
    dim, patch_px = filters.shape[0], filters.shape[-1]
    num_blocks = len({m[1] for name in tensors if (m := re.match(r"blocks\.(\d+)\.", name))})
    size = _TIMM_SIZES.get(dim)
    if "storage_tokens" in tensors:
        is_plain = "blocks.0.mlp.fc1.weight" in tensors
        bias = tensors.get("blocks.0.attn.qkv.bias")
        suffix = "_qkvb" if bias is not None and bool(bias.any()) else ""
        name = f"timm:vit_{size}_patch16_dinov3{suffix}"
        return {"arch": name} if size and is_plain else {}
    if "register_tokens" in tensors:
        return {"arch": f"timm:vit_{size}_patch{patch_px}_reg4_dinov2"} if size else {}
    sizes = {features: name for name, (features, _) in SIZES.items()}
    if num_blocks == NUM_BLOCKS and dim in sizes and patch_px in PATCHES_PX:
        keys: dict[str, Any] = {"arch": f"vit_{sizes[dim]}{patch_px}"}
        if heads not in (None, SIZES[sizes[dim]][1]):
            keys["heads"] = heads
        return keys
    if "blocks.0.ls1.gamma" in tensors and size:
        return {"arch": f"timm:vit_{size}_patch{patch_px}_dinov2"}
    return {}
