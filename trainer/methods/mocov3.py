"""MoCo v3: a prediction finds its image's key among the keys of the batch; no queue.

Chen, Xie and He 2021, 2104.02057; github.com/facebookresearch/moco-v3, moco/builder.py. Views
beyond two are our generalisation: local ones only ask. Batch statistics are per view, as in
separate forwards, and over all ranks: every candidate is of this batch, so they tell nothing.
"""

import math
from dataclasses import dataclass, replace

from torch import nn

from augengine.views import Views
from trainer.losses.info_nce import batch_info_nce
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import NumLayers, mlp
from trainer.nets.multicrop import forward_views, project_groups
from trainer.nets.stated import stated
from trainer.settings.bounds import Bounded, Count, Positive, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The code's values for ResNet-50; a ViT has 3 layers, predictor_norm and temperature 0.2."""

    projector_layers: NumLayers = 2
    hidden_dim: Count = 4096  # of projector and predictor
    out_dim: Count = 256
    predictor_norm: bool = False  # batch norm after the predictor
    temperature: Positive = 1.0
    momentum: Share = 0.99  # of the keys' network at step 0; a cosine takes it to 1 at the end


class MoCoV3(MomentumMethod):
    """Backbone, projector, predictor for queries; moving averages of the first two for keys."""

    batch_loss = "candidates"
    states = ("predictions",)

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum)
        hidden, out = settings.hidden_dim, settings.out_dim
        dims = (feature_dim(backbone), *[hidden] * (settings.projector_layers - 1), out)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=False, out_bias=False, out_norm=True)
        self.predictor = mlp(
            (out, hidden, out),
            hidden_bias=False,
            out_bias=False,
            out_norm=settings.predictor_norm,
        )
        self.follow("key", "backbone", "projector")

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Every view finds the keys of every other global view."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=True)
        q = stated("predictions", forward_views(self.predictor, z, per_view=True))
        k = self.targets(views.crops[0])
        temperature = self.settings.temperature
        # The code sums two directions, each times 2 T, which keeps gradients alike at every T.
        loss = 2 * 2 * temperature * batch_info_nce(q, k, temperature)
        embeddings = z[: len(k)].detach().flatten(0, 1)
        # By which the network of these keys was moved.
        return StepResult(loss, embeddings, {"momentum": super().momentum(progress)})

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All candidates are alike: the batch."""
        return 2 * 2 * self.settings.temperature * math.log(num_images)

    def momentum(self, progress: Progress) -> float:
        """The next step's: the code moves the keys' network before it makes keys."""
        return super().momentum(replace(progress, step=progress.step + 1))
