"""Encoders of one's own: an nn.Module by `package.module:Class`, or by an entry point.

    class MyNet(nn.Module):
        def __init__(self, image_size_px=224, width=1.0):   # what it wants of `create_backbone`
            super().__init__()
            self.feature_dim = 512                          # D
            ...
        def forward(self, images):                          # [N, 3, S, S] of every crop's side S
            return features                                 # [N, D]

It is made from those keys of `backbone` and sizes of crops that its parameters name. Its batch
norms take their statistics as ours do (batchnorm.py); the rest is left as it is.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from shards.errors import UsageError
from shards.plugins.find import origin
from shards.plugins.making import find_class, make, parameters, require_attributes
from trainer.nets.batchnorm import adopt_batch_norm
from trainer.nets.timm_models import feature_width


def create_own(
    name: str,
    table: Mapping[str, str],  # the names that ship
    sizes: Mapping[str, Any],  # image_size_px and other_sizes_px, as of `create_backbone`
    options: Mapping[str, Any],  # the other keys of `backbone`
    defaults: Mapping[str, Any],  # of these
) -> nn.Module:
    """The network, its `plugin_origin` a sentence on where its code comes from.

    Raises:
        UsageError: there is none, it takes other keys than were given, or its features are none.
    """
    cls = find_class("backbones", name, table, also=("timm:NAME",), base=nn.Module)
    taken = parameters(cls)
    foreign = [
        f"{key}={value}"
        for key, value in options.items()
        if value != defaults[key] and taken is not None and key not in taken
    ]
    if foreign:
        raise UsageError(
            f"an arch of one's own takes the keys of backbone that its parameters name, got "
            f"{', '.join(foreign)} for {name}, which names {', '.join(taken or ()) or 'none'}; "
            f"leave them out"
        )
    network = make("backbones", name, cls, {**sizes, **options})
    require_attributes("backbones", name, network, {"feature_dim": int})
    if torch.get_default_device().type != "meta":  # there it is weighed, and has no values
        width = feature_width(network, (sizes["image_size_px"], *sizes["other_sizes_px"]))
        if width != network.feature_dim:
            raise UsageError(
                f"an arch's feature_dim is the width of its features, got {network.feature_dim} "
                f"for features [N, {width}] from {name}; set it to {width}"
            )
    network.plugin_origin = origin("backbones", name, table)
    return adopt_batch_norm(network)


def other_origins(method: nn.Module, encoder: nn.Module) -> list[str]:
    """The origins of other people's networks inside a method, its own encoder apart: teachers."""
    own = getattr(encoder, "plugin_origin", None)
    found = (getattr(module, "plugin_origin", None) for module in method.modules())
    return sorted({text for text in found if isinstance(text, str)} - {own or ""})
