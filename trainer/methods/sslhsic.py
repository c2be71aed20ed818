"""SSL-HSIC: views of an image depend on which one it is, by a measure over pairs of a kernel.

Li, Pogodin, Sutherland and Gretton 2021, 2106.08320; github.com/google-deepmind/ssl_hsic. Networks,
target and views are BYOL's. Predictions and the target's projections are views alike. The kernel is
taken between all pairs of rows (losses/hsic.py), which the code approximates by 512 random features
of each; its width is learned as there (losses/kernel_width.py). The trained backbone is evaluated,
in place of the code's further moving average of it. Views beyond two are our generalisation: local
ones are predicted from, not projected by the target. Batch statistics are per view.
"""

from dataclasses import dataclass

import torch
from torch import nn

from augengine.views import Views
from trainer.distributed import gather_views, world_size
from trainer.losses.hsic import hsic_loss
from trainer.losses.kernel_width import follow_slope, width_slope
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_views, project_groups
from trainer.settings.bounds import Bounded, Count, NotNegative, Positive, Share

_WIDTH_ROWS = 1024  # of all views and ranks, about; their pairs move the width


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The code's values."""

    hidden_dim: Count = 4096  # of projector and predictor
    out_dim: Count = 256
    gamma: NotNegative = 3.0  # weight of what features have in common whatever the image
    width: Positive = 1.0  # c of the kernel at the start
    width_rate: NotNegative = 3e-4  # Adam's, of c; 0 leaves it as it is
    momentum: Share = 0.99  # of the target at step 0; a cosine takes it to 1 at the end


class SSLHSIC(MomentumMethod):
    """Online backbone, projector, predictor; target backbone and projector; the kernel's width."""

    batch_loss = "pairs"
    width: torch.Tensor  # [] float32 - c
    width_moments: torch.Tensor  # [3] float32 - of Adam

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum)
        dim, hidden, out = feature_dim(backbone), settings.hidden_dim, settings.out_dim
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp((dim, hidden, out), hidden_bias=True, out_bias=False)
        self.predictor = mlp((out, hidden, out), hidden_bias=True, out_bias=False)
        self.follow("target", "backbone", "projector")
        self.register_buffer("width", torch.tensor(settings.width))
        self.register_buffer("width_moments", torch.zeros(3))

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Predictions of every view and projections of the global ones, in one batch of rows."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=True)
        p = forward_views(self.predictor, z, per_view=True)
        targets = self.targets(views.crops[0])
        rows = torch.cat([p, targets])
        # Kernels of the CPU take a number. Of a device it is not read, or every step would wait;
        # a copy, since it moves below.
        width = self.width.item() if self.width.device.type == "cpu" else self.width.clone()
        loss = hsic_loss(rows, self.settings.gamma, width)
        self._learn_width(rows)
        embeddings = z[: len(targets)].detach().flatten(0, 1)
        metrics = {"momentum": self.momentum(progress), "width": width}
        return StepResult(loss, embeddings, metrics)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """No pair is nearer than another (losses/hsic.py); rows are predictions and targets."""
        return -1 / (sum(views) - 1)

    @torch.no_grad()
    def _learn_width(self, rows: torch.Tensor) -> None:
        """After its use; from the first images of every rank, alike on all of them."""
        if self.settings.width_rate:
            num_images = max(1, _WIDTH_ROWS // (len(rows) * world_size()))
            sample = gather_views(rows[:, :num_images]).flatten(0, 1)
            slope = width_slope(sample, self.width)
            follow_slope(self.width, self.width_moments, slope, self.settings.width_rate)
