"""DINO: a student matches, from every crop, what its own moving average says of the global ones.

Caron et al. 2021, 2104.14294; github.com/facebookresearch/dino, main_dino.py, vision_transformer.py
`DINOHead`. The teacher is what is evaluated. Its temperature rises per step, the code's per epoch.
Batch statistics, where there are any, are of all views of a forward, as published.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from augengine.views import Views
from trainer.losses.cosine import unit_rows
from trainer.losses.dino import teacher_codes, updated_center
from trainer.losses.swapped import swapped_prediction
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import WeightNormLinear, mlp
from trainer.nets.multicrop import forward_groups, forward_views
from trainer.settings.bounds import Bounded, Count, NotNegative, Positive, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The code's values, with the teacher temperature its authors recommend for long runs."""

    num_prototypes: Count = 65536
    hidden_dim: Count = 2048
    out_dim: Count = 256  # of the bottleneck, whose rows have length 1
    head_norm: bool = False  # batch norm in the head: for ResNets
    norm_last_layer: bool = True  # prototypes of length 1; false: their lengths are trained
    freeze_epochs: NotNegative = 1.0  # prototypes stay as they are for so long
    temperature: Positive = 0.1  # the student's
    teacher_temperature: Positive = 0.07  # above it training is unstable
    warmup_temperature: Positive = 0.04  # at the start; lower it if the loss stays at ln K
    warmup_epochs: NotNegative = 30.0  # linear from there to teacher_temperature
    momentum: Share = 0.996  # of the teacher at step 0; a cosine takes it to 1 at the end
    center_momentum: Share = 0.9


class DINO(MomentumMethod):
    """Student and teacher, each backbone, projector and prototypes; the teacher's center."""

    encoder_name = "teacher_backbone"
    center: torch.Tensor  # [K] float32 - moving mean of the teacher's scores

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum)
        hidden, out, num = settings.hidden_dim, settings.out_dim, settings.num_prototypes
        dims = (feature_dim(backbone), hidden, hidden, out)
        self.settings = settings
        self.backbone = backbone
        norm, train_length = settings.head_norm, not settings.norm_last_layer
        self.projector = mlp(
            dims, hidden_bias=True, out_bias=True, hidden_norm=norm, activation=nn.GELU
        )
        self.projector.apply(_initialize)
        self.prototypes = WeightNormLinear(out, num, train_length=train_length)
        self.follow("teacher", "backbone", "projector", "prototypes")
        self.register_buffer("center", torch.zeros(num))

    def step(self, views: Views, progress: Progress) -> StepResult:
        """The student's scores of all views against the teacher's of the global ones."""
        features = forward_groups(self.backbone, views.crops, per_view=False)
        z = unit_rows(forward_views(self.projector, features, per_view=False))
        scores = self.prototypes(z)
        logits = self._teacher(views.crops[0])
        temperature = self._teacher_temperature(progress)
        targets = teacher_codes(logits, self.center, temperature)
        loss, entropy = swapped_prediction(scores, targets, self.settings.temperature)
        # After its use: this batch is centred by what was seen before it.
        self.center.copy_(updated_center(self.center, logits, self.settings.center_momentum))
        metrics = {
            "teacher_entropy": entropy,  # ln K or 0: collapse
            "teacher_temperature": temperature,
            "momentum": self.momentum(progress),
        }
        return StepResult(loss, z[: len(logits)].detach().flatten(0, 1), metrics)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """Ln K, once the center is where the teacher's scores are."""
        return math.log(self.settings.num_prototypes)

    def before_optimizer(self, progress: Progress) -> None:
        """Keep the prototypes where they are for the first epoch."""
        if progress.epoch < self.settings.freeze_epochs:
            # None, not zero: momentum and weight decay must rest as well.
            self.prototypes.zero_grad(set_to_none=True)

    def _teacher_temperature(self, progress: Progress) -> float:
        start, end = self.settings.warmup_temperature, self.settings.teacher_temperature
        warmup = self.settings.warmup_epochs
        left = max(0.0, 1 - progress.epoch / warmup) if warmup else 0.0
        return end + (start - end) * left

    @torch.no_grad()
    def _teacher(self, global_crops: torch.Tensor) -> torch.Tensor:
        """[G, B, K]: in train mode, so batch statistics and running ones of its own."""
        *_, prototypes = self.followers
        return prototypes(unit_rows(self.targets(global_crops, per_view=False)))


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
