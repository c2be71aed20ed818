"""SimSiam and FastSiam: one network; a predictor on one side, a stop-gradient on the other.

Chen and He 2020, 2011.10566; github.com/facebookresearch/simsiam, simsiam/builder.py. Views beyond
two are our generalisation (losses/cosine.py). Batch statistics are per view, as in separate
forwards, and the predictor's learning rate stays at its peak (`--fix-pred-lr` of the code).
FastSiam (Pototzky et al. 2022, GCPR) is the same with one target a view, the mean of all others.
"""

from dataclasses import dataclass

from torch import nn

from augengine.views import Views
from trainer.checks import choose
from trainer.losses.cosine import simsiam_loss
from trainer.losses.mean_target import mean_target_loss
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import NumLayers, mlp
from trainer.nets.multicrop import forward_views, project_groups
from trainer.settings.bounds import Count, check_bounds

TARGETS = {"each": simsiam_loss, "mean": mean_target_loss}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The paper's ImageNet values; on CIFAR it uses two projector layers."""

    out_dim: Count = 2048  # of the projector and the predictor's output
    # Of the projector's hidden layers; null: as wide as the features.
    hidden_dim: Count | None = None
    predictor_dim: Count = 512  # the predictor's bottleneck
    projector_layers: NumLayers = 3
    targets: str = "each"  # other global view; mean: all of them as one (`fastsiam`)
    # Without the one or the other it collapses, as the paper shows; never train so.
    stop_gradient: bool = True
    predictor: bool = True

    def __post_init__(self) -> None:
        check_bounds("simsiam", self)
        choose("simsiam targets", self.targets, TARGETS)


class SimSiam(Method):
    """Backbone, projector, predictor."""

    constant_lr = ("predictor",)
    constant_is_best = True

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        out, bottleneck = settings.out_dim, settings.predictor_dim
        features = feature_dim(backbone)
        hidden = features if settings.hidden_dim is None else settings.hidden_dim
        dims = (features, *[hidden] * (settings.projector_layers - 1), out)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=False, out_bias=False, out_norm=True)
        predictor = mlp((out, bottleneck, out), hidden_bias=False, out_bias=True)
        self.predictor = predictor if settings.predictor else nn.Identity()

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Every view predicts the projections of the other global views."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=True)
        p = forward_views(self.predictor, z, per_view=True)
        # Local crops only predict: a target should have seen most of the image.
        targets = z[: len(views.crops[0])]
        if self.settings.stop_gradient:
            targets = targets.detach()
        loss = TARGETS[self.settings.targets](p, targets)
        return StepResult(loss, targets.detach().flatten(0, 1))

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """Every prediction is right."""
        return -1.0
