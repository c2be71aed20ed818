"""Methods whose second network follows the trained one: a target, a teacher, a key encoder."""

import torch
from torch import nn

from trainer.methods.protocol import Method, Progress
from trainer.nets.ema import cosine_momentum, ema_update, frozen_copy
from trainer.nets.multicrop import project_groups


class MomentumMethod(Method):
    """The base of a method whose copies move after every optimizer step, by `momentum`.

    A copy is a child like any other, so that a checkpoint holds it, and takes no gradient.
    """

    def __init__(
        self,
        start: float | None = None,  # momentum of the first step; None: `momentum` is overridden
        *,
        final: float | None = 1.0,  # to which a cosine takes it; None: it stays
    ) -> None:
        super().__init__()
        self._start, self._final = start, final
        self._followed: dict[str, str] = {}  # a copy's name: its original's

    def follow(self, prefix: str, *names: str) -> None:
        """Copy the children of these names: "target" makes `target_backbone` of `backbone`."""
        for name in names:
            self.add_module(f"{prefix}_{name}", frozen_copy(self.get_submodule(name)))
            self._followed[f"{prefix}_{name}"] = name

    def momentum(self, progress: Progress) -> float:
        """The share of a copy's weights that the step leaves, in [0, 1]."""
        if self._start is None:
            raise NotImplementedError(f"{type(self).__name__} does not define momentum")
        return cosine_momentum(self._start, progress.fraction, self._final)

    def after_step(self, progress: Progress) -> None:
        """Move every copy towards the new weights."""
        for copy, original in self._followed.items():
            tau = self.momentum(progress)
            ema_update(self.get_submodule(copy), self.get_submodule(original), tau)

    @property
    def followers(self) -> tuple[nn.Module, ...]:
        """The copies, in the order in which an image passes them."""
        return tuple(map(self.get_submodule, self._followed))

    @torch.no_grad()
    def targets(
        self,
        *groups: torch.Tensor,  # per crop group [V, B, C, S, S]
        per_view: bool = True,  # batch statistics of each view apart
    ) -> torch.Tensor:
        """[V, B, D]: the projections of views by the copies of backbone and projector.

        They are in train mode, as published: batch statistics and running ones of their own.
        """
        backbone, projector, *_ = self.followers
        return project_groups(backbone, projector, groups, per_view=per_view)
