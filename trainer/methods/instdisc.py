"""Instance Discrimination: every image is a class of its own, its weights the image's last feature.

Wu et al. 2018, 1805.01978; zhirongw/lemniscate.pytorch. One view suffices; of several, each is a
query of its image against the same negatives, and the mean of the global ones goes into the bank.
The bank starts from random unit rows (the paper; the code's are uniform, of length 1 on average).
The paper's proximal term is not in the code, whose author says that the bank's momentum does the
same (its issues 11 and 18). Batch statistics are per view.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from augengine.devices.streams import upload
from augengine.views import Views
from trainer.banks.memory_bank import MemoryBank
from trainer.checks import choose
from trainer.losses.classes import class_loss
from trainer.losses.cosine import unit_rows
from trainer.losses.nce import bank_scores, estimate_log_z, info_nce_loss, nce_loss
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.multicrop import forward_groups, forward_views
from trainer.settings.bounds import Count, Natural, NotNegative, Positive, ShareBelow1, check_bounds

FORMS = ("nce", "info_nce")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The code's values for ImageNet; on CIFAR it advises no negatives and temperature 0.1."""

    form: str = "nce"  # or info_nce; without negatives both are the full softmax
    num_negatives: Natural = 4096  # rows drawn for an image; 0: all rows of the bank, exactly
    out_dim: Count = 128
    temperature: Positive = 0.07
    bank_momentum: ShareBelow1 = 0.5  # share of the former row that a row keeps
    proximal: NotNegative = (
        0.0  # lambda, pulls a feature to its image's row; unverified: 30 in the paper
    )

    def __post_init__(self) -> None:
        check_bounds("instdisc", self)
        choose("instdisc form", self.form, FORMS)


class InstDisc(Method):
    """Backbone, one linear layer, the bank, and NCE's constant."""

    min_global_views = 1
    log_z: torch.Tensor  # [] float32 - set in the first step

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self.projector = nn.Linear(feature_dim(backbone), settings.out_dim)
        self.bank = MemoryBank(settings.out_dim)
        # Infinite, as is the loss with it: a run that left its first step out would stop.
        self.register_buffer("log_z", torch.tensor(math.inf))
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []  # one a forward of the step

    def prepare(self, num_images: int) -> None:
        """A row for every image."""
        self.bank.allocate(num_images)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Find the image of every view in the bank."""
        features = forward_groups(self.backbone, views.crops, per_view=True)
        v = unit_rows(forward_views(self.projector, features, per_view=True))  # [V, B, D]
        ids = upload(torch.from_numpy(views.ids), v.device)
        loss = self._loss(v, ids, progress)
        if self.settings.proximal:
            distances = (v - self.bank.rows[ids]).square().sum(-1)
            loss = loss + self.settings.proximal * distances.mean()
        global_v = v[: len(views.crops[0])].detach()
        self._seen.append((ids, global_v.mean(0)))
        return StepResult(loss, global_v.flatten(0, 1))

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All rows are as near; of NCE with the constant Z that such scores have."""
        num_negatives = self.settings.num_negatives
        if num_negatives == 0:
            return math.log(len(self.bank.rows))
        constant = math.log1p(num_negatives)
        if self.settings.form == "info_nce":
            return constant
        return constant + num_negatives * math.log1p(1 / num_negatives)

    def after_step(self, progress: Progress) -> None:
        """Write into the bank, whose rows the backward still needed."""
        for ids, rows in self._seen:
            self.bank.update(ids, rows, self.settings.bank_momentum)
        self._seen.clear()

    def _loss(self, v: torch.Tensor, ids: torch.Tensor, progress: Progress) -> torch.Tensor:
        settings, rows = self.settings, self.bank.rows
        if settings.num_negatives == 0:
            return class_loss(bank_scores(v, rows, settings.temperature), ids)
        # As published, noise is not filtered: it may hold the image itself.
        turn = progress.step + progress.part * progress.total_steps  # no two forwards draw alike
        noise = self.bank.draw(len(ids), settings.num_negatives, turn)
        candidates = torch.cat([ids[:, None], noise], dim=1)  # [B, 1 + M]
        scores = bank_scores(v, rows[candidates], settings.temperature)
        if settings.form == "info_nce":
            return info_nce_loss(scores)
        if progress.step == progress.part == 0:
            self.log_z.copy_(estimate_log_z(scores, len(rows)))
        return nce_loss(scores, self.log_z, len(rows))
