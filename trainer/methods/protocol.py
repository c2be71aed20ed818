"""What a method is: views in, one loss out, and its own heads, teacher and queue inside.

`train.py` knows nothing else about a method. A method owns the backbone it trains (`backbone`), builds
its heads, says which crop groups it can use, and updates its teacher in `after_step`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from augengine.views import Views


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the run is; every schedule is a pure function of it, so resume needs nothing else."""

    step: int  # optimizer steps done before this one
    total_steps: int  # of the whole run
    steps_per_epoch: float  # samples over the global batch; not whole: batches cross epoch borders

    @property
    def fraction(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return self.step / max(1, self.total_steps)

    @property
    def epoch(self) -> float:
        """Epochs done, with their fraction."""
        return self.step / self.steps_per_epoch


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step gives back to the loop."""

    loss: torch.Tensor  # [] float32 - to call backward on
    embeddings: torch.Tensor  # [N, D] - detached projector outputs, for the collapse monitor
    metrics: Mapping[str, torch.Tensor | float] = field(default_factory=dict)  # scalars to log


class Method(Protocol):
    """The part of nn.Module the loop uses, and the three calls that make a method."""

    backbone: nn.Module  # images [N, C, S, S] -> features [N, D]; what is evaluated and exported

    def check_views(self, group_sizes: tuple[int, ...]) -> None:
        """Raise UsageError before the run when it cannot use these views (counts per crop group)."""
        ...

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Forward every view, one backbone forward per resolution, and return the loss."""
        ...

    def before_optimizer(self, progress: Progress) -> None:
        """After backward, before the optimizer's step: e.g. drop the gradient of frozen prototypes."""
        ...

    def after_step(self, progress: Progress) -> None:
        """After the optimizer's step: e.g. move the teacher."""
        ...
