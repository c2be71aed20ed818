"""Two views of an image attract, all others repel a little."""

from dataclasses import dataclass

from torch import nn

from trainer.methods.protocol import Method, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.ema import ema_update, frozen_copy
from trainer.nets.multicrop import forward_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One number, without a default."""

    weight: float


class Mine(Method):
    """A student and its teacher, batch statistics per view."""

    encoder_name = "teacher"

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self.teacher = frozen_copy(backbone)
        self.head = nn.Linear(feature_dim(backbone), 8)

    def step(self, views, progress) -> StepResult:
        z = self.head(forward_groups(self.backbone, views.crops, per_view=True))
        loss = self.settings.weight * (z - z.roll(1, 0)).square().mean()
        loss = loss + (1 - z.std(1)).relu().mean()
        return StepResult(loss, z.detach().flatten(0, 1))

    def after_step(self, progress) -> None:
        ema_update(self.teacher, self.backbone, 0.9)
