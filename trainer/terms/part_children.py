"""The children of a method that make what a term needs, and how wide that is."""

import copy

import torch
from torch import nn

from shards.errors import UsageError
from trainer.methods.protocol import Method
from trainer.nets.backbones import feature_dim
from trainer.terms.term import PARTS

_INPUT = {
    "projections": "features",
    "predictions": "projections",
    "momentum_projections": "momentum_features",
}


def child_of(method: Method, part: str) -> str | None:
    """The name of the method's child that makes the part; None when it has none."""
    children = dict(method.named_children())
    for name in PARTS[part]:
        if name in children and name not in method.unaligned:
            return None if isinstance(children[name], nn.Identity) else name
    return None


def networks_of(method: Method) -> dict[str, nn.Module]:
    """Every part that the method has, with the child that makes it."""
    children = {part: child_of(method, part) for part in PARTS}
    return {part: method.get_submodule(name) for part, name in children.items() if name}


def queue_rows(method: Method) -> torch.Tensor | None:
    """The rows that the method's queue has now; None where it has no queue."""
    rows = getattr(dict(method.named_children()).get("queue"), "rows", None)
    return rows if isinstance(rows, torch.Tensor) else None


def queue_length(method: Method) -> int:
    """The most rows that its queue can hold; 0 without one."""
    length = getattr(dict(method.named_children()).get("queue"), "length", 0)
    return length if isinstance(length, int) else 0


def width_of(method: Method, part: str) -> int:
    """D of the part: a copy of the network that makes it is shown two rows of zeros.

    Raises:
        UsageError: it takes other rows.
    """
    if part not in _INPUT:
        return feature_dim(method.backbone)
    name, before = child_of(method, part) or "", width_of(method, _INPUT[part])
    network = copy.deepcopy(method.get_submodule(name)).eval()
    device = next((p.device for p in network.parameters()), None)
    try:
        with torch.no_grad():
            return network(torch.zeros(2, before, device=device)).shape[-1]
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"a term is made with the width of {part.replace('_', ' ')}, for which {name} of "
            f"{type(method).__name__} takes rows [N, {before}], got {str(error).splitlines()[0]}; "
            "leave the term out"
        ) from error
