"""Reads an exported encoder back: the network that its texts describe, with its own tensors.

The file comes from other people: its texts are held to what an export writes, and the network is
compared with the tensors before it gets any memory.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from augengine.plan import MAX_SIZE_PX
from shards.errors import DataError, UsageError
from shards.plugins.importing import never_beside
from shards.plugins.optional_library import optional_library
from trainer.checks import require
from trainer.encoders.encoder import Encoder, Preprocessing
from trainer.nets.backbones import BACKBONES, create_backbone, feature_dim
from trainer.nets.batchnorm import adopt_batch_norm
from trainer.nets.finite import not_finite
from trainer.nets.shapes import shapes_only
from trainer.nets.timm_models import feature_width

# What timm may be told: what an export writes, and nothing that makes it read a file.
_TIMM_OPTIONS = {"img_size", "dynamic_img_size", "dynamic_img_pad", "strict_img_size"}


def read_encoder(path: Path) -> Encoder:
    """The encoder of a file that `trainer.export` has written; runs no code of the file.

    Raises:
        UsageError: the library that its network is of is not installed.
        DataError: torn, of another program, or its texts and tensors contradict each other.
    """
    never_beside(path)
    weights, texts = _read(path)
    try:
        preprocessing = _preprocessing(texts)
        image_size_px = int(texts["image_size_px"])
        rule = f"image_size_px lies in [1, {MAX_SIZE_PX}]"
        require(1 <= image_size_px <= MAX_SIZE_PX, rule, image_size_px, "export it again")
        module = _build(texts, weights, image_size_px)
        module.load_state_dict(weights, assign=True)
        is_timm = texts["arch"].startswith("timm:")
        size_px = preprocessing.size_px
        dim = feature_width(module, (size_px,)) if is_timm else feature_dim(module)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, UsageError) and "install" in str(error):
            raise
        reason = (
            f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:300]
        )
        raise DataError(
            f"an encoder's file says how to build its own weights, got {path} ({reason}); export "
            "it again from its run"
        ) from error
    return Encoder(
        name=str(path),
        module=module.eval(),
        preprocessing=preprocessing,
        feature_dim=dim,
        metadata=texts,
    )


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            texts = dict(file.metadata() or {})
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"an encoder's file is a whole .safetensors of trainer.export, got {path} "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]}); export it again"
        ) from error
    if odd := not_finite(weights):
        raise DataError(
            f"an encoder's weights are finite, got NaN or infinity in {odd[0]} of {path}; export "
            "an earlier checkpoint"
        )
    return weights, texts


def _preprocessing(texts: Mapping[str, str]) -> Preprocessing:
    mean, std = (tuple(map(float, texts[key].split(","))) for key in ("mean", "std"))
    return Preprocessing(
        size_px=int(texts.get("view_size_px", texts["image_size_px"])),
        fraction=float(texts.get("fraction", "1")),
        mean=mean,  # pyright: ignore[reportArgumentType]
        std=std,  # pyright: ignore[reportArgumentType]
    )


def _build(
    texts: Mapping[str, str], weights: Mapping[str, torch.Tensor], image_size_px: int
) -> nn.Module:
    """The network without values; UsageError, ValueError when it cannot be that of the tensors."""
    arch = texts["arch"]
    if arch.startswith("timm:"):
        network = _build_timm(arch.removeprefix("timm:"), texts)
    elif arch in BACKBONES:
        with shapes_only():
            network = create_backbone(arch, image_size_px=image_size_px, **_options(texts))
    else:  # a class of one's own, which may need its first values
        network = create_backbone(arch, image_size_px=image_size_px, **_options(texts))
    made = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if made != found:
        odd = sorted(name for name in made | found if made.get(name) != found.get(name))
        raise ValueError(
            f"{arch} and its tensors differ in {odd[0]}: {made.get(odd[0], 'none')} against "
            f"{found.get(odd[0], 'none')}"
        )
    return network


def untrained(texts: Mapping[str, str]) -> nn.Module:
    """The network that an encoder which was read is of, as before training (seed 0)."""
    torch.manual_seed(0)
    arch = texts["arch"]
    if arch.startswith("timm:"):
        return _build_timm(arch.removeprefix("timm:"), texts)
    return create_backbone(arch, image_size_px=int(texts["image_size_px"]), **_options(texts))


def _options(texts: Mapping[str, str]) -> dict[str, Any]:
    stem, heads = texts["stem"], texts.get("heads", "none")
    options: dict[str, Any] = {"width": float(texts["width"])}
    options |= {} if stem == "none" else {"stem": stem}
    return options | ({} if heads == "none" else {"heads": int(heads)})


def _build_timm(name: str, texts: Mapping[str, str]) -> nn.Module:
    timm = optional_library("timm", f"an encoder of arch timm:{name}", "'timm>=1.0'")
    options = json.loads(texts.get("timm_options", "{}"))
    if not isinstance(options, dict) or not set(options) <= _TIMM_OPTIONS:
        raise ValueError(f"timm_options are {', '.join(sorted(_TIMM_OPTIONS))}, got {options}")
    if not all(isinstance(value, int) and value <= MAX_SIZE_PX for value in options.values()):
        raise ValueError(f"timm_options are numbers and truths, got {options}")
    if name not in timm.list_models():
        raise ValueError(f"timm has no model {name}")
    network = timm.create_model(name, num_classes=0, **options)
    network.timm_options = options
    return adopt_batch_norm(network)
