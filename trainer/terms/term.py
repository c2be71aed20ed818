"""The interface of a term: what a step has made anyway in, a loss to add out.

A term knows neither the method whose step it sees nor the loop, and no method knows its terms. It
says what it `needs`; a method without that is refused before a run. What it learns itself are its
own layers, which are trained, decayed and checkpointed with the method's.

    Term(those of settings, feature_dim and policy that it names) -> [forward -> loss]
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from augengine.views import Views
from trainer.methods.protocol import Progress

# What a term may need, and the children of a method that make it: the first that is there.
PARTS: dict[str, tuple[str, ...]] = {
    "features": ("backbone",),
    "projections": ("projector", "expander"),
    "predictions": ("predictor",),
    "momentum_features": ("target_backbone", "key_backbone", "teacher_backbone"),
    "momentum_projections": ("target_projector", "key_projector", "teacher_projector"),
    "queue": ("queue",),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a step has made; of parts those that the term needs.

    Legend: V views that the trained network has seen, the global ones first, B images, D features.
    """

    views: Views  # crops, plan, sample ids, of every view of the step
    progress: Progress
    columns: tuple[int, ...]  # V - each view's column in the plan
    num_global: int  # of these views
    # [V, B, D] with gradient; of the momentum network [G, B, D], the step's G global views, without
    # one; "queue": its rows [..., R, D] before the step.
    parts: Mapping[str, torch.Tensor]
    # By part: the method's networks that make them, for views that its step did not get (heavy).
    networks: Mapping[str, nn.Module] = field(default_factory=dict)


class Term(nn.Module):
    """The base of every term; only `forward` must be written."""

    needs: tuple[str, ...] = ()  # of PARTS
    takes: tuple[str, ...] = ()  # of PARTS too: those that the method has are in `parts`
    takes_heavy: bool = False  # the policy's heavy views, which no method's own loss sees
    min_global_views: int = 2  # that the trained network has to see
    # What the loss compares over the images of a forward, as of a method; None: a mean over images.
    batch_loss: str | None = None

    def __init__(self) -> None:
        super().__init__()  # without arguments, so that a term without any is given none

    def forward(self, seen: Seen) -> torch.Tensor:
        """[] - the loss, before its weight; the mean over ranks of it is the whole batch's."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")
