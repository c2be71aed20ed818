"""Fast-MoCo: what some quarters of a view say together finds the image's key in the batch.

Ci et al. 2022, 2207.08220; github.com/orashi/Fast-MoCo, core/utils/fastmoco_builder.py and
core/loss_functions/infoNCE.py. Every global view is cut into 2 x 2 patches, which the trained
backbone sees each on its own, at the cost of the whole view; every choice of some of the four is
averaged before the projector and asks for the key of every other global view, which a momentum
network says of the whole view. Views beyond two are our generalisation: local ones, which are parts
already, ask as they are. Batch statistics are per view, of all its patches or all its choices, and
over all ranks. The momentum network starts as a copy; the code's starts at random, and moves before
a step's keys are made, which gives the same.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import torch
from torch import nn

from augengine.views import Views
from trainer.checks import require
from trainer.losses.info_nce import batch_info_nce
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import NumLayers, mlp
from trainer.nets.multicrop import forward_groups, forward_views
from trainer.settings.bounds import Bounded, Count, Positive, Share, at_most

NUM_PATCHES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The code's values for ResNet-50."""

    combined: Annotated[Count, at_most(NUM_PATCHES)] = 2  # patches whose features are averaged
    projector_layers: NumLayers = 3
    hidden_dim: Count = 2048  # of the projector
    out_dim: Count = 2048  # of the projector and the predictor's output
    predictor_dim: Count = 512  # the predictor's bottleneck
    temperature: Positive = 1.0
    momentum: Share = 0.99  # of the keys' network, constant


class FastMoCo(MomentumMethod):
    """Backbone, projector, predictor for choices of patches; moving averages of two for keys."""

    batch_loss = "candidates"
    constant_lr = ("predictor",)
    unaligned = ("backbone", "projector", "predictor")  # they see patches, and choices of them

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum, final=None)
        out, hidden = settings.out_dim, [settings.hidden_dim] * (settings.projector_layers - 1)
        dims = (feature_dim(backbone), *hidden, out)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(
            dims, hidden_bias=True, out_bias=True, out_norm=True, out_scale=True, out_shift=True
        )
        self.predictor = mlp((out, settings.predictor_dim, out), hidden_bias=True, out_bias=True)
        self.follow("key", "backbone", "projector")

    @classmethod
    def seen_sizes(cls, sizes_px: tuple[int, ...]) -> tuple[int, ...]:
        """The views' and the patches'."""
        side = sizes_px[0]
        rule = "fastmoco cuts global views into halves of whole pixels, hence of an even side"
        require(side % 2 == 0, rule, side, f"try --sizes with {side + 1} in its place")
        return (*sizes_px, side // 2)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Every choice of patches, and every local view, finds the keys of other global views."""
        crops, *local_crops = views.crops
        features = forward_views(self.backbone, quarters(crops), per_view=True)  # [G, 4 B, F]
        chosen = averages(features, self.settings.combined)  # [G, C B, F]
        asked = self._predict(chosen).unflatten(1, (-1, crops.shape[1])).unbind(1)  # C [G, B, D]
        if local_crops:
            local = self._predict(forward_groups(self.backbone, local_crops, per_view=True))
            # A local view has no choices: it asks in the place of each, and counts as one view.
            asked = [torch.cat([p, local]) for p in asked]
        keys = self.targets(crops)
        losses = [batch_info_nce(p, keys, self.settings.temperature) for p in asked]
        return StepResult(torch.stack(losses).mean(), keys.flatten(0, 1))

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All candidates are alike: the batch."""
        return math.log(num_images)

    def _predict(self, features: torch.Tensor) -> torch.Tensor:
        z = forward_views(self.projector, features, per_view=True)
        return forward_views(self.predictor, z, per_view=True)


def quarters(
    crops: torch.Tensor,  # [G, B, C, S, S]
) -> torch.Tensor:
    """[G, 4 B, C, S / 2, S / 2]: patch by patch, the left column first, as in the code."""
    side = crops.shape[-1] // 2
    ends = (slice(0, side), slice(side, 2 * side))
    return torch.cat([crops[..., rows, columns] for columns in ends for rows in ends], dim=1)


def averages(
    features: torch.Tensor,  # [G, 4 B, F] - patch by patch
    num_combined: int,
) -> torch.Tensor:
    """[G, C B, F]: the mean of every choice of so many patches, choice by choice."""
    patches = features.unflatten(1, (NUM_PATCHES, -1)).unbind(1)
    choices = combinations(patches, num_combined)
    return torch.cat([torch.stack(chosen).mean(0) for chosen in choices], dim=1)
