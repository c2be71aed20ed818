"""Compress: a query is a sample around a projection, which keeps what the other view says too.

Lee et al. 2021, 2109.12909, C-SimCLR: a conditional entropy bottleneck of von Mises-Fisher
distributions; github.com/google-research/compressive-visual-representations, objective.py
`add_contrastive_ceb_loss`. With u the projections of x and y,

    z ~ e(z|x) = vMF(u_x, kappa_e), the query           b(z|y) = vMF(u_y, kappa_b)
    loss + weight (log e(z|x) - log b(z|y)), the information in z of x beyond y

The keys stay the projections. kappa_b is one over the method's temperature; the method's loss takes
the mean of the two directions and so does this one, so that the weight is the paper's beta, or
twice it beside method.code_scale. Views beyond two are our generalisation: the mean over all
ordered pairs (any view, another global view).
"""

from dataclasses import dataclass
from typing import Any

import torch

from trainer.losses.cosine import pair_cosine
from trainer.nets.von_mises_fisher import vmf_sample
from trainer.settings.bounds import Bounded, NotNegative, Positive
from trainer.terms.term import Seen, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """scripts/csimclr.sh, for 256 features; the spread of a sample goes with D / kappa_e."""

    kappa_e: Positive = 1024.0  # concentration of a query around its projection
    kappa_b: Positive = 10.0  # of what the other view would say of it
    # In which the loss grows from 0 to its whole: the code's beta_schedule linear_warmup.
    warmup_epochs: NotNegative = 0.0


class Compress(Term):
    """No layers of its own."""

    needs = ("projections",)
    changes = "queries"

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def change(self, thing: Any, seen: Seen) -> torch.Tensor:
        """[V, B, D] a sample around each query."""
        z = vmf_sample(thing, self.settings.kappa_e, seen.uniforms)
        seen.kept["z"] = z
        return z

    def forward(self, seen: Seen) -> torch.Tensor:
        """Minus log b(z|y), but for constants: log e(z|x) is one, and so are the normalisers."""
        others = seen.parts["projections"][: seen.num_global]
        kappa_b = self.settings.kappa_b * seen.ramp(self.settings.warmup_epochs)
        return -kappa_b * pair_cosine(seen.kept["z"], others)
