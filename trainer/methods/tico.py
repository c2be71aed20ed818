"""TiCo: views agree, and embeddings keep away from directions that many had in past batches.

Zhu et al. 2022, 2206.10698; no official code is known, the conventions are those of lightly and of
sayannag/TiCo-pytorch. The running covariance is of all ranks' images and in the checkpoint. Both
directions of two views, where that code takes the first view online and the second as target.
Views beyond two are our generalisation: local ones only agree (losses/tico.py). Batch statistics
are per view, as in separate forwards.
"""

from dataclasses import dataclass

import torch
from torch import nn

from augengine.views import Views
from trainer.losses.tico import running_covariance, tico_loss
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import project_groups
from trainer.settings.bounds import Bounded, Count, NotNegative, Share, ShareBelow1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The paper's beta and rho, as sayannag reports them; rho is 20 in that code and lightly's."""

    hidden_dim: Count = 4096  # of the projector
    out_dim: Count = 256
    rho: NotNegative = 8.0  # weight of the contrast
    beta: ShareBelow1 = 0.9  # share of the covariance that a step keeps
    momentum: Share = 0.99  # of the target at step 0; a cosine takes it to 1 at the end


class TiCo(MomentumMethod):
    """Online backbone and projector; those of the target; the running covariance."""

    batch_loss = "covariance"
    covariance: torch.Tensor  # [D, D] float32 - C

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum)
        dims = (feature_dim(backbone), settings.hidden_dim, settings.out_dim)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=False, out_bias=True)
        self.follow("target", "backbone", "projector")
        self.register_buffer("covariance", torch.zeros(settings.out_dim, settings.out_dim))

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Every view agrees with the target of every other global view; C takes in all of them."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=True)
        # Local crops have no targets: a target should have seen most of the image.
        targets = self.targets(views.crops[0])
        # A new tensor: the graph of this step keeps it.
        self.covariance = running_covariance(self.covariance, z, self.settings.beta)
        loss = tico_loss(z, targets, self.covariance, self.settings.rho)
        embeddings = z[: len(targets)].detach().flatten(0, 1)
        return StepResult(loss, embeddings, {"momentum": self.momentum(progress)})

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All agree, in one direction, which the covariance has come to hold alone."""
        return self.settings.rho
