"""HSIC: projections depend on which image they are of, and on little else, beside any method.

Li et al. 2021, 2106.08320. The loss of method `sslhsic` (losses/hsic.py) on the projections that
another method makes. The published method learns the kernel's width and compares with a moving
average; here the width is a setting, and views are compared with each other. Where projections have
collapsed, gamma 3 leaves them so; a method that does not keep images apart needs gamma 1.
"""

from dataclasses import dataclass

import torch

from trainer.losses.hsic import hsic_loss
from trainer.settings.bounds import NotNegative, Positive, check_bounds
from trainer.terms.term import Seen, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The paper's gamma, and the width that the method begins with."""

    gamma: NotNegative = 3.0  # weight of what is independent of the image
    width: Positive = 1.0  # c of the inverse multiquadric kernel of unit rows

    def __post_init__(self) -> None:
        check_bounds("hsic", self)


class HSIC(Term):
    """No layers of its own."""

    needs = ("projections",)
    batch_loss = "kernel"

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, seen: Seen) -> torch.Tensor:
        """Gamma sqrt(HSIC(Z, Z)) - HSIC(Z, image) over the images of all ranks."""
        return hsic_loss(seen.parts["projections"], self.settings.gamma, self.settings.width)
