"""Our encoders under the names that torchvision, timm and Detectron2 have for them.

Names and shapes of ResNets are torchvision's and timm's, those of ViTs timm's; Detectron2 has its
own. Each layout comes with the lines of Python that load it, as they are printed: tests run them.
Stems without pooling (small, half) are none of theirs, and are said with what to change.

Detectron2's names: detectron2/modeling/backbone/resnet.py (BasicStem, BottleneckBlock), and MoCo's
detection/convert-pretrain-to-detectron2.py, which maps torchvision's to them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from shards.errors import UsageError
from trainer.nets.resnet import DEPTHS, BasicBlock
from trainer.nets.vit import SIZES

# What other libraries lack: in words, and the first convolution's arguments.
_STEMS = {
    "small": ("3x3, stride 1, no pooling", "3, padding=1"),
    "half": ("4x4, stride 2, no pooling", "4, 2, 1"),
}
DETECTRON2_DEPTHS = (18, 34, 50, 101, 152)
_RESNET = re.compile(r"resnet(\d+)")
_VIT = re.compile(r"vit_([a-z]+?)(\d+)")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The lines of Python by which another library makes an encoder's network."""

    lines: tuple[str, ...]  # until `model` takes the weights; {file} is where they are
    note: str = ""  # what does not fit by itself


def torchvision_recipe(texts: Mapping[str, str]) -> Recipe:
    """For torchvision.models; UsageError for what it has not."""
    depth = _plain_resnet(texts, "torchvision")
    block, repeats = DEPTHS[depth]
    make = f"model = torchvision.models.resnet{depth}()"
    if depth == 10:
        inside = f"torchvision.models.resnet.{block.__name__}, {list(repeats)}"
        make = f"model = torchvision.models.ResNet({inside})"
    lines = ["import torch, torchvision", make, "model.fc = torch.nn.Identity()"]
    return _with_stem(texts, "torchvision", lines, 'torch.load("{file}", weights_only=True)')


def timm_recipe(texts: Mapping[str, str]) -> Recipe:
    """For timm; UsageError for what it has not."""
    arch, options = timm_arguments(texts)
    words = "".join(f", {key}={value!r}" for key, value in options.items())
    make = f'model = timm.create_model("{arch}", num_classes=0{words})'
    if arch == "resnet10":
        inside = "timm.models.resnet.BasicBlock, (1, 1, 1, 1), num_classes=0"
        make = f"model = timm.models.resnet.ResNet({inside})"
    lines = ["import timm, timm.models.resnet, torch", make]
    if arch != "resnet10":
        lines[0] = "import timm, torch"
    load = 'timm.models.load_state_dict("{file}")'
    return _with_stem(texts, "timm", lines, load)


def timm_arguments(texts: Mapping[str, str]) -> tuple[str, dict[str, object]]:
    """The name and the keywords by which timm.create_model makes an encoder, besides num_classes.

    `resnet10` is no name of timm's: it has the blocks and no function for them.
    """
    arch = texts["arch"]
    if arch.startswith("timm:"):
        return arch.removeprefix("timm:"), json.loads(texts.get("timm_options", "{}"))
    if match := _VIT.fullmatch(arch):
        size, patch_px = match[1], int(match[2])
        options: dict[str, object] = {"img_size": int(texts["image_size_px"])}
        if texts["heads"] != str(SIZES[size][1]):
            options["num_heads"] = int(texts["heads"])
        # timm has no names for other patches of all sizes; the network is the same.
        options |= {} if patch_px == 16 else {"patch_size": patch_px}
        return f"vit_{size}_patch16_224", options
    return f"resnet{_plain_resnet(texts, 'timm')}", {}


def detectron2_weights(
    weights: Mapping[str, torch.Tensor], texts: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Arrays by Detectron2's names, for its `build_resnet_backbone`; UsageError unless they fit."""
    depth = _plain_resnet(texts, "detectron2")
    if depth not in DETECTRON2_DEPTHS or texts["stem"] != "imagenet":
        raise UsageError(
            f"Detectron2 has ResNets of {', '.join(map(str, DETECTRON2_DEPTHS))} layers with the "
            f"ImageNet stem, got resnet{depth} with stem {texts['stem']}; train with "
            "backbone.stem=imagenet, or try --format torchvision"
        )
    return {
        _detectron2_name(name): tensor.numpy()
        for name, tensor in weights.items()
        if not name.endswith("num_batches_tracked")
    }


def detectron2_settings(texts: Mapping[str, str]) -> tuple[str, ...]:
    """Keys of its config that fit the weights; its pixels are RGB from 0 to 255 then."""
    depth = int(texts["arch"].removeprefix("resnet"))
    mean, std = ([round(255 * float(x), 3) for x in texts[k].split(",")] for k in ("mean", "std"))
    # The stride is on the 3x3 convolution here, on the first 1x1 in the networks it is made for.
    narrow = DEPTHS[depth][0] is BasicBlock
    return (
        f"MODEL.RESNETS.DEPTH {depth}",
        *(("MODEL.RESNETS.RES2_OUT_CHANNELS 64",) if narrow else ()),
        "MODEL.RESNETS.STRIDE_IN_1X1 False",
        "INPUT.FORMAT RGB",
        f"MODEL.PIXEL_MEAN {mean}",
        f"MODEL.PIXEL_STD {std}",
    )


def _detectron2_name(name: str) -> str:
    name = name if name.startswith("layer") else f"stem.{name}"
    name = re.sub(r"layer([1-4])", lambda found: f"res{int(found[1]) + 1}", name)
    name = re.sub(r"bn([123])\.", r"conv\1.norm.", name)
    return name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")


def _plain_resnet(texts: Mapping[str, str], library: str) -> int:
    """The depth of a ResNet of usual width."""
    match = _RESNET.fullmatch(texts["arch"])
    if match is None or float(texts["width"]) != 1:
        width = "" if texts["width"] == "1" else f" of width {texts['width']}"
        is_timms = library != "timm" and texts["arch"].startswith(("vit_", "timm:"))
        formats = "timm, onnx or hub" if is_timms else "onnx or hub"
        raise UsageError(
            f"--format {library} is for ResNets of the published width"
            f"{', ViTs and models of timm' if library == 'timm' else ''}, got {texts['arch']}"
            f"{width}; try --format {formats}"
        )
    return int(match[1])


def _with_stem(texts: Mapping[str, str], library: str, lines: list[str], load: str) -> Recipe:
    end = f"model.load_state_dict({load}); model.eval()"
    if texts["stem"] not in _STEMS:
        return Recipe((*lines, end))
    words, arguments = _STEMS[texts["stem"]]
    note = (
        f"the {texts['stem']} stem of this encoder ({words}) is not {library}'s: two lines change "
        "the model before it loads"
    )
    changes = (
        f"model.conv1 = torch.nn.Conv2d(3, 64, {arguments}, bias=False)",
        "model.maxpool = torch.nn.Identity()",
    )
    return Recipe((*lines, *changes, end), note)
