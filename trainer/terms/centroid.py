"""Centroid: what is said of all views of an image lies, on average, where its targets do.

The multiview centroid loss of Moon et al. 2022, 2207.03552 (MSBReg). The paper's text says what its
three terms are for (this one, `singular`, `brownian`); its formulas could not be read, and there is
no official code. So the form is ours: the squared distance of two means of unit rows,

    mean_b |mean_v n(p_v) - mean_g n(t_g)|^2

p are the predictions of all views, t what the momentum network says of the global ones, or without
one the projections, without gradient. Single views may differ: they are the method's own to join.
"""

import torch

from trainer.losses.cosine import unit_rows
from trainer.terms.term import Seen, Term


class Centroid(Term):
    """No layers of its own."""

    needs = ("predictions",)  # else a network's centroid is its own target
    takes = ("momentum_projections", "projections")

    def forward(self, seen: Seen) -> torch.Tensor:
        """[] in [0, 4]."""
        own = seen.parts["projections"][: seen.num_global]
        targets = seen.parts.get("momentum_projections", own).detach()
        apart = unit_rows(seen.parts["predictions"]).mean(0) - unit_rows(targets).mean(0)
        return apart.square().sum(-1).mean()
