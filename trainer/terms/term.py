"""The interface of a term: what a step has made anyway in; a loss to add, or a change, out.

A term knows neither the method whose step it sees nor the loop, and no method knows its terms. It
says what it `needs`, and what it `changes`: one of the things that a step states by name
(nets/stated.py). A method without that is refused before a run, and so are two terms that change
the same. What it learns itself are its own layers, which are trained, decayed and checkpointed with
the method's.

    Term(of what add_terms.py offers what it names) -> [change, in the step -> forward -> loss]
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from augengine.views import Views
from trainer.methods.protocol import Progress
from trainer.nets.view_noise import view_uniforms

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
    """What a step has made; of parts those that the term needs, and in `change` those made so far.

    Parts are what the method's own networks say: what a term has put in the place of something,
    only the method goes on with, and no other term sees.

    Legend: V views that the trained network has seen, the global ones first, B images, D features.
    """

    views: Views  # crops, plan, sample ids, of every view of the step
    progress: Progress
    columns: tuple[int, ...]  # V - each view's column in the plan
    num_global: int  # of these views
    # [V, B, D] with gradient; of the momentum network [G, B, D], the step's G global views, without
    # one; "queue": its rows [..., R, D] before the step.
    parts: Mapping[str, torch.Tensor]
    seed: int = 0  # of the run
    kept: dict[str, torch.Tensor] = field(default_factory=dict)  # by `change`, for `forward`
    # By part: the method's networks that make them, for views that its step did not get (heavy).
    networks: Mapping[str, nn.Module] = field(default_factory=dict)

    def uniforms(self, use: int, count: int) -> np.ndarray:
        """[V, B, count] float64 in [0, 1), of each image and view alone (nets/view_noise.py)."""
        return view_uniforms(self.views, self.columns, self.seed, use, count)

    def ramp(self, epochs: float) -> float:
        """From 0 at the start of the run to 1 after so many epochs, and 1 from then on."""
        return min(1.0, self.progress.epoch / epochs) if epochs else 1.0


class Term(nn.Module):
    """The base of every term; it has a `forward`, or `changes` and a `change`, or all three."""

    needs: tuple[str, ...] = ()  # of PARTS
    changes: str | None = None  # of a method's `states`
    takes: tuple[str, ...] = ()  # of PARTS too: those that the method has are in `parts`
    takes_heavy: bool = False  # the policy's heavy views, which no method's own loss sees
    min_global_views: int = 2  # that the trained network has to see
    # What the loss compares over the images of a forward, as of a method; None: a mean over images.
    batch_loss: str | None = None

    def __init__(self) -> None:
        super().__init__()  # without arguments, so that a term without any is given none

    def change(self, thing: Any, seen: Seen) -> Any:
        """What takes the place of the thing that the step states; of its type and shape."""
        raise NotImplementedError(f"{type(self).__name__} does not define change")

    def forward(self, seen: Seen) -> torch.Tensor:
        """[] - the loss, before its weight; the mean over ranks of it is the whole batch's."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    @classmethod
    def adds_a_loss(cls) -> bool:
        """Whether it has a `forward`; without one it only changes something."""
        return cls.forward is not Term.forward
