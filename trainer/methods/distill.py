"""Distillation: a student learns what a fine-tuned teacher says of unlabelled images.

Chen et al. 2020, SimCLR v2, 2006.10029, section 2 and eq. 2 and 3. The teacher is a classifier that
`python -m trainer.evaluate RUN --finetune SHARE` wrote; with the student's own architecture this is
self-distillation. Teacher (in eval mode) and student see the same views. Without a file the teacher
is a random network like the student: a control that learns, if little (BYOL paper, section 3.1).
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from augengine.devices.streams import upload
from augengine.views import Views
from shards.errors import UsageError
from shards.terminal.counted import counted
from trainer.checks import require
from trainer.losses.distillation import distillation_loss, labelled_loss
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.classifier import Classifier, load_classifier
from trainer.nets.ema import frozen_copy
from trainer.nets.multicrop import forward_groups
from trainer.settings.bounds import Bounded, Count, Positive, ShareAbove0
from trainer.settings.strict import PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The paper's temperature is 1 from a big teacher, 0.1 from one like the student."""

    # File of a fine-tuned classifier; null: a random network.
    teacher: str | None = field(default=None, metadata=PATH)
    out_dim: Count = 1000  # classes of a random teacher
    temperature: Positive = 1.0
    alpha: ShareAbove0 = 1.0  # share of distillation; the rest is for the images' own labels


class Distill(Method):
    """The student's backbone and classifier, and a frozen teacher."""

    min_global_views = 1

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        if settings.teacher is None:
            teacher = Classifier(frozen_copy(backbone), nn.Sequential(), settings.out_dim)
            teacher.linear.reset_parameters()
        else:
            teacher = load_classifier(Path(settings.teacher))
            self.given = ("teacher",)
        self.teacher = teacher.requires_grad_(False)
        self.classifier = nn.Linear(feature_dim(backbone), teacher.linear.out_features)

    def check_classes(self, classes: tuple[str, ...]) -> None:
        """Refuse classes that differ from the teacher's, where labels are used."""
        known = self.teacher.classes
        if self.settings.alpha < 1 and known and classes and known != classes:
            odd = sorted(set(known) ^ set(classes)) or ["their order"]
            raise UsageError(
                f"distill's labels are numbered as its teacher's classes, got {len(classes)} "
                f"classes for the teacher's {len(known)} that differ in {', '.join(odd[:5])}; try "
                "method.alpha=1, or pack the data from the class folders of the teacher's"
            )

    def train(self, mode: bool = True) -> "Distill":
        """As every module's; only that the teacher is always in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Match the teacher's probabilities on every view."""
        features = forward_groups(self.backbone, views.crops, per_view=False)  # [V, B, D]
        scores = self.classifier(features).flatten(0, 1)
        with torch.no_grad():
            targets = forward_groups(self.teacher, views.crops, per_view=False).flatten(0, 1)
        loss = distillation_loss(scores, targets, self.settings.temperature)
        alpha = self.settings.alpha
        if alpha < 1:
            most, num_classes = int(views.labels.max()), scores.shape[-1]
            rule = f"distill's teacher knows every class of the data, {most} among them"
            require(most < num_classes, rule, counted(num_classes, "class"), "try method.alpha=1")
            labels = upload(torch.from_numpy(views.labels).long(), scores.device)
            labels = labels.repeat(len(features))  # view-major, as the scores
            loss = alpha * loss + (1 - alpha) * labelled_loss(scores, labels)
        embeddings = features[: len(views.crops[0])].detach().flatten(0, 1)
        agreement = (scores.argmax(1) == targets.argmax(1)).float().mean()
        return StepResult(loss, embeddings, {"agreement": agreement})
