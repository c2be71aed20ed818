"""Encoders that are not ours: timm's pretrained ones by name, and anybody's module by its place.

timm:resnet50           with the weights and the preprocessing that timm has for it
mine.nets:encoder       an nn.Module in module `mine.nets`, or a function without arguments that
                        makes one; where it has `size_px`, `mean`, `std` or `fraction`, these
                        are its preprocessing, else 224 px and ImageNet's colours
"""

from typing import Any

import torch
from torch import nn

from augengine.policy import IMAGENET_MEAN, IMAGENET_STD
from shards.errors import UsageError
from shards.plugins.importing import attribute_of, import_own, tell_file
from shards.plugins.optional_library import optional_library
from trainer.checks import choose
from trainer.encoders.encoder import Encoder, Preprocessing
from trainer.nets.timm_models import feature_width

DEFAULT_PX = 224


def timm_encoder(name: str) -> Encoder:
    """`timm:NAME` with its pretrained weights.

    Raises:
        UsageError: timm is not installed, has no such model or no weights for it, or they cannot be
            had.
    """
    arch = name.removeprefix("timm:")
    timm = optional_library("timm", name, "'timm>=1.0'")
    choose("timm architecture", arch.partition(".")[0], timm.list_models())
    try:
        module = timm.create_model(arch, pretrained=True, num_classes=0)
    except Exception as error:  # no weights, no network, no room: each in its own way
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{name} is an encoder by the pretrained weights that timm has for it, got "
            f"{type(error).__name__}: {reason}; look at timm.list_pretrained(), and connect to "
            "their server or put them into its cache"
        ) from None
    known: dict[str, Any] = dict(getattr(module, "pretrained_cfg", {}))
    preprocessing = Preprocessing(
        size_px=int(known.get("input_size", (3, DEFAULT_PX))[-1]),
        mean=tuple(known.get("mean", IMAGENET_MEAN)),
        std=tuple(known.get("std", IMAGENET_STD)),
        fraction=float(known.get("crop_pct", 1.0)),
    )
    return _encoder(name, module, preprocessing)


def module_encoder(name: str) -> Encoder:
    """`module:attribute`, from the working folder or installed.

    Raises:
        UsageError: there is no such module or attribute, or it is no network that gives features.
    """
    found = attribute_of("encoder", name, name)
    path = tell_file(import_own("encoder", name, name))
    if not isinstance(found, nn.Module) and callable(found):
        try:
            found = found()
        except Exception as error:  # whatever a function of others does
            raise UsageError(
                f"{name} is a module or a function without arguments that makes one, got "
                f"{type(error).__name__}: {error}; wrap it in such a function"
            ) from error
    if not isinstance(found, nn.Module):
        raise UsageError(
            f"{name} is a torch.nn.Module or makes one, got a {type(found).__name__}; name another"
        )
    said = {key: getattr(found, key, None) for key in ("size_px", "mean", "std", "fraction")}
    own: dict[str, Any] = {"size_px": DEFAULT_PX}
    own |= {key: _plain(value) for key, value in said.items() if value is not None}
    return _encoder(f"{name} from {path}", found, Preprocessing(**own))


def _plain(value: Any) -> Any:
    """A module may keep its colours as a buffer."""
    if isinstance(value, torch.Tensor):
        value = value.flatten().tolist()
    return tuple(value) if isinstance(value, list) else value


def _encoder(name: str, module: nn.Module, preprocessing: Preprocessing) -> Encoder:
    module = module.cpu().eval()
    dim = feature_width(module, (preprocessing.size_px,))
    return Encoder(name=name, module=module, preprocessing=preprocessing, feature_dim=dim)
