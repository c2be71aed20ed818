"""SimReg: a student regresses the features of frozen self-supervised teachers, through a deep head.

Navaneet et al. 2021 (BMVC), github.com/UCDvision/simreg (2e974e7), simreg.py and mlp_arch.py. The
head is dropped afterwards: what is evaluated is the student's backbone. As published one weak view
goes through both networks; with `teacher_views` the first global views are the teachers' alone, so
that a strong view can regress a weak one. Several teachers, each with a head of its own, are ours:
the loss is their mean. Without a teacher's name the teacher is the student as it begins, frozen: a
control that learns, if little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from augengine.views import Views
from shards.errors import UsageError
from trainer.checks import choose, require
from trainer.losses.cosine import unit_rows
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.batchnorm import BatchNorm1d
from trainer.nets.ema import frozen_copy
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_groups, forward_views
from trainer.settings.bounds import Natural, check_bounds
from trainer.settings.strict import PATH

HEADS = ("deep", "linear")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The paper's head of four layers, and its one view for both networks."""

    # A run, a checkpoint, an export, a file of others or timm:NAME; or a list of them; null: none.
    teachers: str | tuple[str, ...] | None = field(default=None, metadata=PATH)
    head: str = "deep"  # or linear: a batch norm and one linear layer
    teacher_views: Natural = 0  # global views that teachers alone see; 0: all see the same views

    def __post_init__(self) -> None:
        check_bounds("simreg", self)
        choose("simreg head", self.head, HEADS)
        if isinstance(self.teachers, str):
            object.__setattr__(self, "teachers", (self.teachers,))
        rule = "simreg teachers are names of encoders, or null"
        require(self.teachers != (), rule, "none", "try method.teachers=RUN")


class SimReg(Method):
    """The student's backbone, the frozen teachers, and a head for each."""

    min_global_views = 1
    teachers_setting = "teachers"

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self.teachers = nn.ModuleList()
        self.heads = nn.ModuleList()
        if settings.teachers is None:
            self.take_teachers([frozen_copy(backbone)])
            self.notes = ("simreg without method.teachers regresses its own start: a control",)
        else:
            self.given = ("teachers",)

    def take_teachers(self, teachers: Sequence[nn.Module]) -> None:
        """Freeze these networks, and make a head for each."""
        self.teachers.extend(teacher.requires_grad_(False).eval() for teacher in teachers)
        dim = feature_dim(self.backbone)
        self.heads.extend(_head(self.settings.head, dim, feature_dim(one)) for one in teachers)

    def check_views(self, group_sizes: tuple[int, ...]) -> None:
        """Some are left for the student, and each teacher has one."""
        super().check_views(group_sizes)
        own, num_global = self.settings.teacher_views, group_sizes[0]
        if own > num_global or own == sum(group_sizes):
            raise UsageError(
                f"simreg teacher_views are global views, and leave the student some, got {own} of "
                f"--views {'+'.join(map(str, group_sizes))}; try --views {own + 1}"
            )

    def seen_global_views(self, num_global: int) -> int:
        """All but the teachers' own."""
        return num_global - self.settings.teacher_views

    def train(self, mode: bool = True) -> "SimReg":
        """As every module's; only that teachers are always in eval mode."""
        super().train(mode)
        self.teachers.eval()
        return self

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Regress each teacher's features: of the same view, or of every view of its own."""
        own = self.settings.teacher_views
        seen = [crops for crops in (views.crops[0][own:], *views.crops[1:]) if len(crops)]
        asked = [views.crops[0][:own]] if own else views.crops
        features = forward_groups(self.backbone, seen, per_view=False)  # [V, B, D]
        losses = []
        for teacher, head in zip(self.teachers, self.heads, strict=True):
            with torch.no_grad():
                targets = unit_rows(forward_groups(teacher, asked, per_view=False))
            if own:  # the cosine is linear in each side: the mean over pairs is that of the means
                targets = targets.mean(0)
            predictions = unit_rows(forward_views(head, features, per_view=False))
            losses.append(2 - 2 * (predictions * targets).sum(-1).mean())
        assert losses, "take_teachers comes before step"
        metrics = {f"teacher_{i}": loss.detach() for i, loss in enumerate(losses)}
        embeddings = features[: len(seen[0])].detach().flatten(0, 1)
        return StepResult(torch.stack(losses).mean(), embeddings, metrics if losses[1:] else {})


def _head(kind: str, dim: int, out: int) -> nn.Sequential:
    """mlp_arch.py: D -> 2D -> D -> 2D -> out, no batch norm nor ReLU on the D in the middle."""
    if kind == "linear":
        return nn.Sequential(BatchNorm1d(dim), nn.Linear(dim, out))
    first = mlp((dim, 2 * dim, dim), hidden_bias=True, out_bias=True)
    return nn.Sequential(*first, *mlp((dim, 2 * dim, out), hidden_bias=True, out_bias=True))
