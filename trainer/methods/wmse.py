"""W-MSE: whitened views agree; what is whitened cannot collapse, so nothing else is needed.

Ermolov et al. 2021, 2007.06346; github.com/htdt/self-supervised. The images of all ranks are drawn
into parts, the same ones for every view, and every view of a part is whitened apart; the parts are
a function of the step's number. The code whitens parts of its one batch; so do we on any number of
ranks. Views beyond the global ones are our generalisation: whitened like them, they agree with them
alone. Batch statistics are per view in the encoder and of all views in the head, as in the code.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from augengine.devices.streams import upload
from augengine.views import Views
from trainer.checks import require
from trainer.distributed import gather_views
from trainer.losses.cosine import pair_cosine
from trainer.losses.whitening import partitions_of_step, whiten_parts
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_groups, forward_views
from trainer.settings.bounds import Count, at_most, check_bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The code's values for CIFAR; 128 features and parts of 256 images for larger ones."""

    hidden_dim: Count = 1024  # of the projector
    out_dim: Count = 64
    sub_batch: Count = 128  # images that are whitened together, on all ranks; twice out_dim
    iterations: Annotated[Count, at_most(100)] = (
        1  # partitions a step, whose losses are averaged; 4 with few images
    )

    def __post_init__(self) -> None:
        check_bounds("wmse", self)
        rule = f"wmse sub_batch is larger than out_dim, {self.out_dim}, whose covariance it gives"
        require(self.sub_batch > self.out_dim, rule, self.sub_batch, f"try {2 * self.out_dim}")


class WMSE(Method):
    """Backbone and projector."""

    batch_loss = "whitened parts"

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        dims = (feature_dim(backbone), settings.hidden_dim, settings.out_dim)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=True, out_bias=True)

    def check_images(self, num_images: int) -> None:
        """Besides what batch norm needs: a part's worth of images."""
        super().check_images(num_images)
        rule = f"wmse whitens sub_batch images of the {num_images} of a step together"
        remedy = f"lower it and out_dim, {self.settings.out_dim}, or raise --batch-size"
        require(num_images >= self.settings.sub_batch, rule, self.settings.sub_batch, remedy)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """2 - 2 cos of every two views' whitened rows, one of them global; the mean of all."""
        features = forward_groups(self.backbone, views.crops, per_view=True)
        z = forward_views(self.projector, features, per_view=False)
        everyone, num_global = gather_views(z), len(views.crops[0])
        settings = self.settings
        orders = partitions_of_step(progress.step, everyone.shape[1], settings.iterations)
        cosines = []
        for order in upload(orders, z.device):
            white = whiten_parts(everyone, order, settings.sub_batch)
            cosines.append(pair_cosine(white, white[:num_global], "torch"))
        loss = 2 - 2 * torch.stack(cosines).mean()
        loss = loss.to(torch.promote_types(z.dtype, torch.float32))
        return StepResult(loss, z[:num_global].detach().flatten(0, 1))

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """Rows that are all the mean are whitened to 0, which has no direction."""
        return 2.0
