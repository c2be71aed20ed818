"""ReLIC and ReLICv2: an image is found among others, with the same confidence by any two views.

Mitrovic et al. 2020, 2010.07922; Tomasev et al. 2022, 2201.05119, whose code was published without
its training (github.com/google-deepmind/relicv2). The critic is the projector; its rows have length
1. ReLIC is two views; ReLICv2 is a recipe: large and small views, of which the small ones only
ask, each large view paired with its own target too, and few negatives. Batch statistics are per
view, as in separate forwards, and over all ranks.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from augengine.devices.streams import upload
from augengine.views import Views
from trainer.checks import require
from trainer.distributed import world_size
from trainer.losses.relic import offsets_of_step, relic_losses
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import project_groups
from trainer.settings.bounds import Bounded, Count, NotNegative, Positive, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """Heads and momentum are BYOL's, the temperature ours: neither paper's are known to us."""

    hidden_dim: Count = 4096  # of the projector
    out_dim: Count = 256
    temperature: Positive = 0.2
    invariance: NotNegative = 1.0  # alpha, the weight of the divergence
    own_view: bool = False  # a view finds the image in its own target too (ReLICv2)
    num_negatives: Count | None = None  # drawn for each step (ReLICv2); null: the whole batch
    momentum: Share = 0.996  # of the target at step 0; a cosine takes it to 1 at the end


class ReLIC(MomentumMethod):
    """Online backbone and projector; those of the target."""

    batch_loss = "candidates"

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum)
        dims = (feature_dim(backbone), settings.hidden_dim, settings.out_dim)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=True, out_bias=False)
        self.follow("target", "backbone", "projector")

    def check_images(self, num_images: int) -> None:
        """A batch has the negatives that are drawn from it."""
        super().check_images(num_images)
        rule = f"relic num_negatives is less than the {num_images} images of a forward"
        number = self.settings.num_negatives
        require(number is None or number < num_images, rule, number, "or null: all of them")

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Every view finds its image among those that the global views show to the target."""
        settings = self.settings
        z = project_groups(self.backbone, self.projector, views.crops, per_view=True)
        contrast, invariance = relic_losses(
            z,
            self.targets(views.crops[0]),
            settings.temperature,
            own_view=settings.own_view,
            offsets=self._offsets(z, progress.step),
        )
        loss = contrast + settings.invariance * invariance
        metrics = {
            "contrast": contrast.detach(),
            "invariance": invariance.detach(),
            "momentum": self.momentum(progress),
        }
        return StepResult(loss, z[: len(views.crops[0])].detach().flatten(0, 1), metrics)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All candidates are alike, whichever views show them."""
        number = self.settings.num_negatives
        return math.log(num_images if number is None else 1 + number)

    def _offsets(self, z: torch.Tensor, step: int) -> torch.Tensor | None:
        if self.settings.num_negatives is None:
            return None
        num_images = z.shape[1] * world_size()
        offsets = offsets_of_step(step, num_images, self.settings.num_negatives)
        return upload(offsets, z.device)
