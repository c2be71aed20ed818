"""The encoder of a run alone, as tensors and texts: what a program needs that has none of our code.

A ResNet's parameters and buffers have torchvision's names (it lacks `fc`), a ViT's or a timm
model's their own. How to build the network again and to feed it stands beside them, as texts;
`encoder_reader.py` does so.
"""

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from trainer.config import TrainConfig
from trainer.nets.backbones import feature_dim
from trainer.nets.resnet import ResNet
from trainer.nets.vit import VisionTransformer
from trainer.setup.networks import build_encoder, encoder_weights, load_weights


def trained_encoder(config: TrainConfig, state: Mapping[str, Any]) -> nn.Module:
    """The encoder of a checkpoint, in eval mode on the CPU."""
    own = encoder_weights(config, state)
    encoder = build_encoder(config, config.policy.load(), own)
    load_weights(encoder, own)  # all of it, and nothing else
    return encoder.eval()


def describe(config: TrainConfig, encoder: nn.Module, step: int) -> dict[str, str]:
    """The texts that say how to build a run's encoder and to feed it."""
    policy = config.policy.load()
    metadata = {
        "format": "pt",
        "arch": config.backbone.arch,
        "width": f"{config.backbone.width:g}",
        "stem": encoder.stem if isinstance(encoder, ResNet) else "none",
        # The weights do not tell: another number is another function.
        "heads": str(encoder.num_heads) if isinstance(encoder, VisionTransformer) else "none",
        "feature_dim": str(feature_dim(encoder)),
        "image_size_px": str(max(group.size_px for group in policy.groups)),
        # What evaluation makes of an image; absent in files of former releases.
        "view_size_px": str(config.eval.size_px or policy.groups[0].size_px),
        "fraction": f"{config.eval.fraction!r}",
        "mean": ", ".join(map(str, policy.mean)),
        "std": ", ".join(map(str, policy.std)),
        "method": config.method.name,
        "step": str(step),
    }
    if options := getattr(encoder, "timm_options", None):
        metadata["timm_options"] = json.dumps(options)
    return metadata
