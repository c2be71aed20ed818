"""The fitted recipe of a run that begins with given weights: low rates, slowly reached.

The numbers are DINOv3's own second stage, which goes on from its first: a quarter of its rate, a
rise that takes a third of it, and 2 % less a block down (dinov3_vit7b16_pretrain.yaml: 5e-5;
dinov3_vit7b16_high_res_adapt.yaml: 1.25e-5, cosine_epochs 10 of 30, layerwise_decay 0.98; in
facebookresearch/dinov3 dinov3/configs/train). A quarter of MoCo's rate here is 0.03, at which Reed
et al. 2021 (HPT), 2103.12718, go on from ImageNet's ResNet-50 on sixteen sets. Not measured by us.
"""

from collections.abc import Mapping
from typing import Any

RATE = 0.25  # of the method's own
WARMUP = 1 / 3  # of the run
LAYER_DECAY = 0.98  # of transformers; HPT has none for its ResNets

WHY_ENCODER = "what backbone.weights are of"
WHY_RATE = "a quarter of the method's: the run goes on from given weights"


def encoder_of_weights(
    given: Mapping[str, Any] | None,  # keys of `backbone`; None: no weights are given
    typed: Mapping[str, Any],  # by dotted key
) -> dict[str, Any]:
    """The encoder's keys, unless another one is typed: that is refused when it is filled."""
    keys = dict(given or {})
    arch = keys.get("arch")
    return keys if arch is not None and typed.get("backbone.arch", arch) == arch else {}


def patch_of(arch: object) -> int:
    """The side of a ViT's patches, of which views are whole multiples; 1 for other encoders."""
    text = str(arch)
    digits = text.removeprefix("vit_").lstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits) if text.startswith("vit_") and digits.isdecimal() else 1
