"""Teachers: a frozen copy whose parameters follow the trained network's moving average.

Parameters only: batch norm buffers are the teacher's own, from its own forwards in train mode, as
in the official code of BYOL, MoCo v3 and DINO.
"""

import copy
import math
from typing import TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainer.nets.vit import DropPath

Network = TypeVar("Network", bound=nn.Module)


def frozen_copy(network: Network) -> Network:
    """A deep copy that takes no gradient and drops no path."""
    teacher = copy.deepcopy(network).requires_grad_(False)
    for layer in teacher.modules():
        if isinstance(layer, DropPath):
            layer.rate = 0.0
    return teacher


@torch.no_grad()
def ema_update(
    teacher: nn.Module,  # changed in place
    student: nn.Module,  # the network it was copied from
    momentum: float,  # tau in [0, 1]: 1 leaves the teacher as it is
) -> None:
    """Set teacher <- tau teacher + (1 - tau) student, for every parameter."""
    new = [p.detach() for p in student.parameters()]
    if new:  # an identity in a head's place has none
        get_ema_multi_avg_fn(momentum)(list(teacher.parameters()), new, 0)


def cosine_momentum(base: float, fraction: float, final: float | None = 1.0) -> float:
    """Momentum tau from `base` at the start of the run to `final` at its end; None: it stays.

    tau = final - (final - base) (1 + cos(pi fraction)) / 2
    """
    if final is None:
        return base
    return final - (final - base) * (1 + math.cos(math.pi * fraction)) / 2
