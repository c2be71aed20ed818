"""Barlow Twins: two views' features correlate with themselves and with no other feature.

Zbontar et al. 2021, 2103.03230; github.com/facebookresearch/barlowtwins, main.py. The last batch
norm, which has no scale and shift, is in the loss. Views beyond two are our generalisation
(losses/barlow.py). Batch statistics are per view, as in separate forwards. On W ranks the gradient
is the global batch's; the code's is 1/W of it, so its rate of biases and norms, which LARS does not
adapt, corresponds to a W times smaller one here.
"""

from dataclasses import dataclass

from torch import nn

from augengine.views import Views
from trainer.distributed import gather_views
from trainer.losses.barlow import barlow_loss
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import project_groups
from trainer.settings.bounds import Bounded, Count, NotNegative


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The code's values; the loss grows with out_dim, and so does what weights outside LARS see."""

    hidden_dim: Count = 8192
    out_dim: Count = 8192
    off_diagonal: NotNegative = 0.0051  # lambda; 0.005 in the paper


class BarlowTwins(Method):
    """Backbone and projector."""

    batch_loss = "correlations"

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        hidden, out = settings.hidden_dim, settings.out_dim
        dims = (feature_dim(backbone), hidden, hidden, out)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=False, out_bias=False)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Correlate the features of every view with those of every other global view."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=True)
        num_global = len(views.crops[0])
        loss = barlow_loss(gather_views(z), num_global, self.settings.off_diagonal)
        return StepResult(loss, z[:num_global].detach().flatten(0, 1))

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """No feature correlates, itself included: D."""
        return float(self.settings.out_dim)
