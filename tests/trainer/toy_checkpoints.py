"""A checkpoint in every layout, as its authors' code writes it, around an encoder of ours."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from trainer.nets.backbones import create_backbone

Tensors = dict[str, torch.Tensor]
RESNET: dict[str, Any] = {"arch": "resnet10", "width": 0.125, "stem": "imagenet"}
VIT: dict[str, Any] = {"arch": "vit_tiny8"}
SIZE_PX = 16


def encoder(keys: Mapping[str, Any], seed: int = 1) -> nn.Module:
    """An encoder whose every tensor, running statistics too, is no default."""
    torch.manual_seed(seed)
    network = create_backbone(**keys, image_size_px=SIZE_PX).eval()
    for value in network.state_dict().values():
        if value.is_floating_point():
            value += 0.05 * torch.rand_like(value)
    return network


def features(network: nn.Module, size_px: int = SIZE_PX) -> torch.Tensor:
    """Of two fixed images."""
    images = torch.rand(2, 3, size_px, size_px, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network.eval()(images)


def under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """The tensors with a prefix before their names."""
    return {prefix + name: value for name, value in tensors.items()}


def head(*names: str) -> Tensors:
    """What a checkpoint has beside its encoder."""
    return {name: torch.ones(3, 3) for name in names}


def other(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """A second encoder of the same shapes, which must not be taken."""
    return {name: value + 1 for name, value in tensors.items()}


def sequential(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """nn.Sequential(*list(resnet.children())[:-1]): conv1, bn1, ReLU, pooling, four stages."""
    places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    split = {name: name.partition(".") for name in tensors}
    return {places[split[n][0]] + "." + split[n][2]: value for n, value in tensors.items()}


def with_layer_scale(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """The same function as DINOv2 has it: the last layers divided by a scale that stands apart."""
    result = dict(tensors) | {"mask_token": torch.zeros(1, 192)}
    for block in range(12):
        for which, layer in (("1", "attn.proj"), ("2", "mlp.fc2")):
            gamma = 0.5 + torch.rand(192)
            name = f"blocks.{block}.{layer}"
            result[f"{name}.weight"] = result[f"{name}.weight"] / gamma[:, None]
            result[f"{name}.bias"] = result[f"{name}.bias"] / gamma
            result[f"blocks.{block}.ls{which}.gamma"] = gamma
    return result


def chunked(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """DINOv2's BlockChunk: blocks.CHUNK.NUMBER.x, numbers going on from chunk to chunk."""
    result = {}
    for name, value in tensors.items():
        words = name.split(".")
        if words[0] == "blocks":
            words.insert(1, str(int(words[1]) // 3))
        result[".".join(words)] = value
    return result


def _ddp(**states: Any) -> dict[str, Any]:
    return {"epoch": 1, "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}}, **states}


Maker = Callable[[Tensors], Any]
_TRUNK = "classy_state_dict.base_model.model.trunk"


def _nested(path: str, tensors: Tensors) -> dict[str, Any]:
    nested: Any = tensors
    for key in reversed(path.split(".")):
        nested = {key: nested}
    return nested


# By the layout's name in trainer/weights/layouts.py: the encoder, and the file around it.
MAKERS: dict[str, tuple[dict[str, Any], Maker]] = {
    "SwAV, DeepCluster v2": (
        RESNET,
        lambda t: under("module.", t | head("projection_head.0.weight", "prototypes.weight")),
    ),
    "MoCo v1, v2": (
        RESNET,
        lambda t: _ddp(
            arch="resnet50",
            state_dict=under("module.encoder_q.", t | head("fc.0.weight"))
            | under("module.encoder_k.", other(t))
            | head("module.queue", "module.queue_ptr"),
        ),
    ),
    "MoCo v3": (
        {**VIT, "heads": 12},
        lambda t: _ddp(
            state_dict=under("module.base_encoder.", t | head("head.0.weight"))
            | under("module.momentum_encoder.", other(t))
            | head("module.predictor.0.weight")
        ),
    ),
    "SimSiam": (
        RESNET,
        lambda t: _ddp(
            state_dict=under("module.encoder.", t | head("fc.0.weight"))
            | head("module.predictor.0.weight")
        ),
    ),
    "Barlow Twins, whole": (
        RESNET,
        lambda t: _ddp(
            model=under("module.backbone.", t)
            | head("module.projector.0.weight", "module.bn.running_mean")
        ),
    ),
    "VICReg, whole": (
        RESNET,
        lambda t: _ddp(model=under("module.backbone.", t) | head("module.projector.0.weight")),
    ),
    "DINO, whole": (
        VIT,
        lambda t: {
            "student": under("module.backbone.", other(t)) | head("module.head.mlp.0.weight"),
            "teacher": under("backbone.", t) | head("head.mlp.0.weight"),
            "dino_loss": head("center"),
        },
    ),
    "DINOv2 teacher": (
        VIT,
        lambda t: {
            "teacher": under("backbone.", chunked(with_layer_scale(t)))
            | head("dino_head.mlp.0.weight")
        },
    ),
    "DINOv2": (VIT, with_layer_scale),
    "VISSL, a ResNet": (
        RESNET,
        lambda t: {
            "classy_state_dict": {
                "base_model": {
                    "model": {
                        "trunk": under("_feature_blocks.", t),
                        "heads": head("0.clf.0.weight"),
                    }
                },
                "loss": under("moco_encoder.trunk._feature_blocks.", other(t)),
            }
        },
    ),
    "VISSL, a ViT": (VIT, lambda t: _nested(_TRUNK, t)),
    "VISSL, a ResNet's trunk": (
        RESNET,
        lambda t: {"model_state_dict": under("_feature_blocks.", t)},
    ),
    "solo-learn": (
        RESNET,
        lambda t: {
            "state_dict": under("backbone.", t)
            | under("momentum_backbone.", other(t))
            | head("classifier.weight", "projector.0.weight")
        },
    ),
    "solo-learn, former": (
        RESNET,
        lambda t: {"state_dict": under("encoder.", t) | head("classifier.weight")},
    ),
    "lightly": (
        RESNET,
        lambda t: {
            "state_dict": under("backbone.", sequential(t))
            | under("backbone_momentum.", sequential(other(t)))
            | head("projection_head.layers.0.weight")
        },
    ),
    "lightly, a ViT": (
        VIT,
        lambda t: {
            "state_dict": under("backbone.vit.", t)
            | under("student_backbone.vit.", other(t))
            | head("backbone.mask_token")
        },
    ),
    "lightly, a ViT's teacher": (
        VIT,
        lambda t: {
            "state_dict": under("teacher_backbone.vit.", t)
            | under("student_backbone.vit.", other(t))
        },
    ),
    "timm, training with EMA": (
        RESNET,
        lambda t: {"state_dict": other(t), "state_dict_ema": dict(t), "arch": "resnet10"},
    ),
    "our fine-tuned classifier": (
        RESNET,
        lambda t: {
            "version": 1,
            "backbone": {**RESNET, "image_size_px": SIZE_PX},
            "weights": under("encoder.", t) | head("linear.weight"),
        },
    ),
    "torchvision, timm, our export, or a backbone alone": (
        RESNET,
        lambda t: t | head("fc.weight", "fc.bias"),
    ),
}
