"""SAT: one view regresses its image's target, a moving average of what was said of it before.

Self-adaptive training, the self-supervised part: Huang, Zhang, Zhang 2022, 2101.08732. The authors'
code (LayneH/self-adaptive-training, 2f902b3) has the supervised part alone. From its abstract and
that part: a target an image, a moving average of the model's outputs. From memory, not verified:
random unit vectors at first, a predictor, a momentum network whose outputs the average takes. Ours:
the rest, and that by default a view does not stand in the target that it regresses, or the shortest
way is to say of a view what the network says of it anyway.
"""

from dataclasses import dataclass

import torch
from torch import nn

from augengine.devices.streams import upload
from augengine.views import Views
from trainer.banks.memory_bank import MemoryBank
from trainer.losses.cosine import unit_rows
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_views, project_groups
from trainer.settings.bounds import Bounded, Count, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """BYOL's heads and momentum."""

    hidden_dim: Count = 4096  # of projector and predictor
    out_dim: Count = 256
    momentum: Share = 0.99  # of the network at step 0; a cosine takes it to 1 at the end
    target_momentum: Share = 0.7  # of an image's target, each time that the image comes
    update_first: bool = False  # the target has this view in it, as in the supervised part's code


class SAT(MomentumMethod):
    """Online backbone, projector, predictor; momentum backbone and projector; a target an image."""

    min_global_views = 1
    constant_is_best = True

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum)
        dim, hidden, out = feature_dim(backbone), settings.hidden_dim, settings.out_dim
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp((dim, hidden, out), hidden_bias=True, out_bias=False)
        self.predictor = mlp((out, hidden, out), hidden_bias=True, out_bias=False)
        self.follow("target", "backbone", "projector")
        self.bank = MemoryBank(out)
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []  # one a forward of the step

    def prepare(self, num_images: int) -> None:
        """A random target for every image."""
        self.bank.allocate(num_images)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """|n(p_v) - t_i|^2 = 2 - 2 cos of every view v of image i; the mean over views."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=True)
        p = unit_rows(forward_views(self.predictor, z, per_view=True))  # [V, B, D]
        ids = upload(torch.from_numpy(views.ids), p.device)
        # [B, D]: the mean over global views of the momentum network's unit vectors.
        said = unit_rows(self.targets(views.crops[0])).mean(0)
        targets = self.bank.rows[ids]
        if self.settings.update_first:
            targets = unit_rows(torch.lerp(said, targets, self.settings.target_momentum))
        self._seen.append((ids, said))
        loss = 2 - 2 * (p * targets).sum(-1).mean()
        embeddings = z[: len(views.crops[0])].detach().flatten(0, 1)
        return StepResult(loss, embeddings, {"momentum": self.momentum(progress)})

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """Every prediction is right, once the random targets are forgotten."""
        return 0.0

    def after_step(self, progress: Progress) -> None:
        """Move the targets of the images that came, and the momentum network."""
        for ids, said in self._seen:
            self.bank.update(ids, said, self.settings.target_momentum)
        self._seen.clear()
        super().after_step(progress)
