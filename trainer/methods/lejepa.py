"""LeJEPA: views predict the mean of the global ones, and embeddings are a normal distribution's.

Balestriero and LeCun 2025, 2511.08544; github.com/rbalestr-lab/lejepa, MINIMAL.md. Two terms with
one weight between them; no teacher, no stop-gradient, no schedule. The directions are drawn anew
every step, from its number as in the code. Batch statistics, where there are any, are of all views
of a forward, as published. The prediction is a mean over the rank's images, the other term is of
the global batch.
"""

from dataclasses import dataclass

from torch import nn

from augengine.devices.streams import upload
from augengine.views import Views
from trainer.losses.sigreg import constant_sigreg, directions_of_step, prediction, sigreg
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import project_groups
from trainer.settings.bounds import Bounded, Count, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The head is MINIMAL.md's, the number of directions the README's.

    Lambda is ours: MINIMAL.md runs a ViT on Imagenette at 0.02, the README names none, and what the
    paper used on ImageNet is unknown to us.
    """

    hidden_dim: Count = 2048  # of the projector
    out_dim: Count = 128
    sigreg: Share = 0.05  # lambda; the prediction has what is left of 1
    num_directions: Count = 1024


class LeJEPA(Method):
    """Backbone and projector."""

    batch_loss = "a distribution"

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        hidden, out = settings.hidden_dim, settings.out_dim
        dims = (feature_dim(backbone), hidden, hidden, out)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=True, out_bias=True)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Both terms on the projections of all views, none of them normalised."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=False)
        num_global, settings = len(views.crops[0]), self.settings
        directions = directions_of_step(progress.step, settings.out_dim, settings.num_directions)
        apart = prediction(z, num_global)
        unlike = sigreg(z, upload(directions, z.device))
        loss = (1 - settings.sigreg) * apart + settings.sigreg * unlike
        metrics = {"prediction": apart.detach(), "sigreg": unlike.detach()}
        return StepResult(loss, z[:num_global].detach().flatten(0, 1), metrics)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All at the origin (losses/sigreg.py); it grows with the batch."""
        return self.settings.sigreg * constant_sigreg(num_images)
