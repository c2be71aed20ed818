"""The base of lightly's side of a method: a backbone, heads, slow networks, and one step's hooks.

Runs in the peers' environment. peer_train.py and minutes/peer_trial.py call step.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import nn

from benchmarks.parity.shared_settings import Pair
from trainer.nets.resnet import ResNet

Crops = list[torch.Tensor]  # a view each, [B, 3, S, S]; the global ones first


@dataclass(frozen=True, slots=True)
class Place:
    """Where the run is."""

    step: int
    total_steps: int
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.step // self.steps_per_epoch


class PeerMethod(nn.Module):
    """A backbone, heads and a loss; what a method has no use for does nothing."""

    slow: tuple[str, ...] = ()  # children with a slow copy, `target_NAME`
    constant_lr: tuple[str, ...] = ()  # children whose rate stays at its peak

    def __init__(self, backbone: ResNet, pair: Pair) -> None:
        super().__init__()
        self.pair = pair
        self.features = backbone.feature_dim
        self.backbone = backbone
        self.build(pair)
        for name in self.slow:
            if not hasattr(self, f"target_{name}"):
                self.add_module(f"target_{name}", copy.deepcopy(self.get_submodule(name)))
            deactivate_requires_grad(self.get_submodule(f"target_{name}"))

    def build(self, pair: Pair) -> None:
        """Make heads and losses."""
        raise NotImplementedError

    def loss(self, crops: Crops, place: Place) -> torch.Tensor:
        """The loss of one batch."""
        raise NotImplementedError

    def before_forward(self, place: Place) -> None:
        """Move the slow networks: lightly's examples do it first in a step."""
        start, ramp = self.pair.momentum, self.pair.ramp
        if start is None:
            return
        momentum = cosine_schedule(place.step, place.total_steps, start, 1.0) if ramp else start
        for name in self.slow:
            update_momentum(
                self.get_submodule(name), self.get_submodule(f"target_{name}"), m=momentum
            )

    def before_optimizer(self, place: Place) -> None:
        """Between backward and the optimizer's step."""

    def step(self, crops: Crops, place: Place, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        """Train on one batch; its loss."""
        self.before_forward(place)
        loss = self.loss(crops, place)
        loss.backward()
        self.before_optimizer(place)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    @property
    def encoder(self) -> nn.Module:
        """The network that is scored."""
        return self.backbone


def given(value: Any) -> Any:
    """A number that the method's row must have."""
    assert value is not None
    return value
