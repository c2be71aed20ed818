"""MMCR: views of an image come to one point, and the points of all images lie in all directions.

Yerxa et al. 2023, 2303.03307; github.com/ThomasYerxa/mmcr. Both networks see every view, and a
centroid is the mean over all of them, local ones included, which are our addition; without a target
it is that of the online network's alone, as in the code for CIFAR. Batch statistics are of all
views of a forward, as published.
"""

import math
from dataclasses import dataclass

from torch import nn

from augengine.views import Views
from trainer.losses.nuclear import mmcr_loss
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import NumLayers, mlp
from trainer.nets.multicrop import project_groups
from trainer.settings.bounds import Bounded, Count, NotNegative, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The code's values for ImageNet; 2 layers of 512 and 128 and no target for CIFAR."""

    projector_layers: NumLayers = 3
    hidden_dim: Count = 8192
    out_dim: Count = 512
    local: NotNegative = 0.0  # lambda: weight of the views' own spread
    momentum: Share | None = 0.99  # of the target, constant; null: without one


class MMCR(MomentumMethod):
    """Backbone and projector; those of the target, where there is one."""

    batch_loss = "centroids"

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum, final=None)
        hidden = [settings.hidden_dim] * (settings.projector_layers - 1)
        dims = (feature_dim(backbone), *hidden, settings.out_dim)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=False, out_bias=False)
        if settings.momentum is not None:
            self.follow("target", "backbone", "projector")

    def step(self, views: Views, progress: Progress) -> StepResult:
        """The centroids of all views; the target's are without gradient."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=False)
        targets = self.targets(*views.crops, per_view=False) if self.followers else None
        loss = mmcr_loss(z, targets, self.settings.local)
        return StepResult(loss, z[: len(views.crops[0])].detach().flatten(0, 1))

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """One direction for all: a matrix of rank 1 (losses/nuclear.py)."""
        return -math.sqrt(num_images) + self.settings.local * math.sqrt(views[1])
