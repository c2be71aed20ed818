"""EMP-SSL: many small crops of an image come to their mean, and each crop's batch spreads out.

Tong et al. 2023, 2304.03977; github.com/tsb0601/EMP-SSL. Made for 20 crops an image or more, which
stand for epochs: --views 20, each a quarter of the image. All views are alike to the loss, so local
ones, our addition, are in the mean as well. The encoder is evaluated, in place of the code's first
head layer averaged over crops. Batch statistics are of all views of a forward, as published.
"""

from dataclasses import dataclass

from torch import nn

from augengine.views import Views
from trainer.losses.codingrate import coding_rate, constant_rate, mean_cosine
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import project_groups
from trainer.settings.bounds import Bounded, Count, NotNegative, Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The code's values. Near a collapse the rate's pull is as out_dim / distortion.

    So the weight of the invariance goes with out_dim: 200 of 64 features ends in one point.
    """

    hidden_dim: Count = 4096  # of the projector
    out_dim: Count = 1024
    invariance: NotNegative = 200.0  # weights of both terms
    rate: NotNegative = 1.0
    distortion: Positive = 0.2  # smaller: near embeddings count as apart


class EMPSSL(Method):
    """Backbone and projector."""

    batch_loss = "coding rate"

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        hidden, out = settings.hidden_dim, settings.out_dim
        dims = (feature_dim(backbone), hidden, hidden, out)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=True, out_bias=True)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Both terms on the projections of all views."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=False)
        settings = self.settings
        alike, rate = mean_cosine(z), coding_rate(z, settings.distortion)
        loss = -settings.invariance * alike - settings.rate * rate
        metrics = {"invariance": alike.detach(), "coding_rate": rate.detach()}
        return StepResult(loss, z[: len(views.crops[0])].detach().flatten(0, 1), metrics)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All views are their mean, and one direction has the least rate."""
        settings = self.settings
        rate = constant_rate(settings.out_dim, settings.distortion)
        return -settings.invariance - settings.rate * rate
