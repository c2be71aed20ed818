"""BYOL: the online network predicts what a slowly moving copy of itself says of another view.

Grill et al. 2020, 2006.07733; google-deepmind/deepmind-research, byol/byol_experiment.py.
The unlike distributions of the two global views come from the policy (`byol`), not from here.
Views beyond two are our generalisation (losses/cosine.py); the DINO paper, appendix E, found that
multi-crop does not help BYOL out of the box. Batch statistics are per view, as in separate
forwards.
"""

from dataclasses import dataclass

from torch import nn

from augengine.views import Views
from trainer.losses.cosine import byol_loss, unit_rows
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_views, project_groups
from trainer.nets.stated import stated
from trainer.settings.bounds import Bounded, Count, Positive, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The paper's values for 1,000 epochs; 0.99 for 100 to 300 epochs."""

    hidden_dim: Count = 4096  # of projector and predictor
    out_dim: Count = 256
    momentum: Share = 0.996  # tau at step 0; a cosine takes it to 1 at the end
    loss_scale: Positive = 1.0  # C-BYOL's code: 5 for 300 epochs, 2 for 1,000
    predictor: bool = True  # false shows the collapse; never train so
    symmetric: bool = True  # false: the last global view is the target, the others predict it
    ramp: bool = True  # false: the momentum stays; at 0 both sides are one network (SimSiam)


class BYOL(MomentumMethod):
    """Online backbone, projector, predictor; target backbone and projector."""

    states = ("predictions",)
    constant_is_best = True

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum, final=1.0 if settings.ramp else None)
        dim, hidden, out = feature_dim(backbone), settings.hidden_dim, settings.out_dim
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp((dim, hidden, out), hidden_bias=True, out_bias=False)
        predictor = mlp((out, hidden, out), hidden_bias=True, out_bias=False)
        self.predictor = predictor if settings.predictor else nn.Identity()
        self.follow("target", "backbone", "projector")

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Every view predicts the target's projection of every other global view."""
        crops, symmetric = views.crops[0], self.settings.symmetric
        asking, answering = (crops, crops) if symmetric else (crops[:-1], crops[-1:])
        groups = [asking, *views.crops[1:]]
        z = project_groups(self.backbone, self.projector, groups, per_view=True)
        p = stated("predictions", forward_views(self.predictor, z, per_view=True))
        # Local crops only predict: a target should have seen most of the image.
        targets = self.targets(answering)
        if symmetric:
            loss = byol_loss(p, targets)
        else:  # one direction: half of the sum of both
            loss = 2 - 2 * (unit_rows(p) * unit_rows(targets)).sum(-1).mean()
        if self.settings.loss_scale != 1:
            loss = self.settings.loss_scale * loss
        embeddings = z[: len(asking)].detach().flatten(0, 1)
        return StepResult(loss, embeddings, {"momentum": self.momentum(progress)})

    def seen_global_views(self, num_global: int) -> int:
        """All but the one that is the target."""
        return num_global if self.settings.symmetric else num_global - 1

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """Every prediction is right."""
        return 0.0
