"""Do both sides compute one loss, and one gradient of the encoder, from one batch?

    PYTHONPATH=. PEERS/bin/python -m benchmarks.parity.loss_agreement --methods simclr --out FILE

Runs in the peers' environment, where both can be imported. Our method of a row of PAIRS and
peer_methods.py's get the same weights, the trained network's being another than the slow one's, and
the same images; float64. Batch norms keep their running statistics meanwhile, since the sides group
views otherwise. `convention` says what stands between the two losses where they are not alike.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.parity.our_recipe import our_recipe
from benchmarks.parity.peer_method import PeerMethod, Place
from benchmarks.parity.peer_methods import create_peer
from benchmarks.parity.shared_settings import (
    DEPTH,
    LOCAL_PX,
    PAIRS,
    SIZE_PX,
    STEM,
    WIDTH,
)
from trainer.methods.method_table import create_method
from trainer.methods.protocol import Method, Progress
from trainer.nets.resnet import ResNet

IMAGES = 16
SAME = "the same"
# Ours as theirs, and what was done to it.
_CONVERTED: dict[str, tuple[Callable[[float], float], str]] = {
    "byol": (lambda ours: ours - 1, "ours = 1 + theirs"),
}
_NO_FORMULA = {
    "nnclr": "theirs is NT-Xent over neighbours and predictions together, both ways; ours is the "
    "paper's, a neighbour among the predictions",
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one method."""

    ours: float
    lightly: float
    loss_error: float | None  # relative, after converting; None: there is no formula
    gradient_error: float | None  # of the encoder, relative to its length
    gradient_cosine: float
    convention: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Crops:
    """What a method reads of Views here."""

    crops: tuple[torch.Tensor, ...]


def main() -> None:
    """Compare, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", default=",".join(PAIRS), metavar="A,B")
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    found = {method: compare(method) for method in options.methods.split(",")}
    for method, row in found.items():
        errors = f"loss {row.loss_error}, gradient {row.gradient_error}"
        print(f"{method:8} ours {row.ours:.8f} lightly {row.lightly:.8f}; {errors}")
    if options.out is not None:
        report = {method: asdict(row) for method, row in found.items()}
        options.out.write_text(json.dumps(report), encoding="utf-8")


def compare(method: str) -> Agreement:
    """Both losses of one batch, and their gradients."""
    torch.manual_seed(0)
    settings = {k: v for k, v in our_recipe(method)["method"].items() if k != "name"}
    ours = create_method(method, ResNet(DEPTH, width=WIDTH, stem=STEM), settings).double()
    theirs = create_peer(method, ResNet(DEPTH, width=WIDTH, stem=STEM), PAIRS[method]).double()
    crops = _crops(method)
    _unlike_the_slow_one(ours)
    hand_over(ours, theirs)  # what only ours has is gone before its statistics are taken
    with torch.no_grad():  # statistics that no network begins with
        ours.train()
        ours.step(_as_views(crops), Progress(0, 100, 10))
    ours.eval()
    theirs.eval()
    hand_over(ours, theirs)
    result = ours.step(_as_views(crops), Progress(20, 100, 10))
    result.loss.backward()
    views = [view for group in crops.crops for view in group]
    loss = theirs.loss(views, Place(20, 100, 10))
    loss.backward()
    mine, other = _gradient(ours.backbone), _gradient(theirs.backbone)
    convert, convention = _CONVERTED.get(method, (float, SAME))
    value, target = convert(result.loss.item()), loss.item()
    is_same = method not in _NO_FORMULA
    return Agreement(
        ours=result.loss.item(),
        lightly=target,
        loss_error=abs(value - target) / abs(target) if is_same else None,
        gradient_error=((mine - other).norm() / other.norm()).item() if is_same else None,
        gradient_cosine=nn.functional.cosine_similarity(mine, other, dim=0).item(),
        convention=_NO_FORMULA.get(method, convention),
        versions={name: metadata.version(name) for name in ("lightly", "torch")},
    )


@torch.no_grad()
def hand_over(ours: Method, theirs: PeerMethod) -> None:
    """Give lightly's networks our weights and statistics, its banks our queues, and our center."""
    for name, child in theirs.named_children():
        found = _ours_of(ours, name)
        if found:
            _copy(child, found)
    for module in theirs.modules():
        if len(getattr(module, "bank", ())):
            module.bank = ours.get_buffer("queue.rows").clone()
        if hasattr(module, "center"):
            module.center.copy_(ours.get_buffer("center"))


def _ours_of(ours: Method, name: str) -> list[nn.Module]:
    """The children of our method that one of lightly's stands for, in the order of its layers."""
    target = name.startswith("target_")
    prefixes = ("target_", "key_", "teacher_") if target else ("",)
    own = name.removeprefix("target_")
    parts = ("projector", "prototypes") if own == "head" else (own,)
    children = dict(ours.named_children())
    return [children[p + part] for part in parts for p in prefixes if p + part in children]


def _copy(child: nn.Module, ours: list[nn.Module]) -> None:
    """Layer by layer; a bias that only one side has is 0 (ours before a batch norm is none)."""
    pairs = zip(_layers([child]), _layers(ours), strict=True)
    for to, from_ in pairs:
        length = getattr(to, "weight_g", None)
        weight = to.weight if length is None else to.weight_v
        if weight is not None:
            weight.copy_(from_.weight)
        if length is not None:
            length.fill_(1)
        bias = getattr(from_, "bias", None)
        if to.bias is None and bias is not None:
            bias.zero_()
        elif to.bias is not None:
            to.bias.zero_() if bias is None else to.bias.copy_(bias)
        if isinstance(to, _BatchNorm):
            to.running_mean.copy_(from_.running_mean)
            to.running_var.copy_(from_.running_var)


def _layers(modules: list[nn.Module]) -> list[Any]:
    """All that have weights, ours of DINO's scores among them."""
    kinds = (nn.Linear, nn.Conv2d, _BatchNorm)
    every = [layer for module in modules for layer in module.modules()]
    return [x for x in every if isinstance(x, kinds) or type(x).__name__ == "WeightNormLinear"]


@torch.no_grad()
def _unlike_the_slow_one(ours: Method) -> None:
    """Move the trained weights, or a loss that mistakes one network for the other agrees too."""
    for parameter in ours.parameters():
        if parameter.requires_grad:
            parameter.add_(0.1 * parameter.std(correction=0) * torch.randn_like(parameter))


def _crops(method: str) -> Crops:
    pair = PAIRS[method]
    crops = [torch.randn(2, IMAGES, 3, SIZE_PX, SIZE_PX)]
    if pair.num_local:
        crops.append(torch.randn(pair.num_local, IMAGES, 3, LOCAL_PX, LOCAL_PX))
    return Crops(tuple(crops))


def _as_views(crops: Crops) -> Any:
    """A method reads crops only; a plan for no images would say nothing."""
    return crops


def _gradient(backbone: nn.Module) -> torch.Tensor:
    """[P] of all parameters."""
    found = [p.grad.flatten() for p in backbone.parameters() if p.grad is not None]
    return torch.cat(found)


if __name__ == "__main__":
    main()
