"""Compress the predictor: a prediction is made of a sample, which keeps what the target says too.

Lee et al. 2021, 2109.12909, C-BYOL; github.com/google-research/compressive-visual-representations,
model_util.py `StochasticProjectionHead`, objective.py `add_byol_ceb_loss`. With mu what the
predictor says of a view, t what the momentum network's projector says of it, both of unit length,

    z ~ e(z|x) = vMF(mu, kappa_e)          b(z|y) = vMF(n(m(t)), kappa_b)
    the prediction is one more linear layer of z
    loss + weight (log e(z|x) - log b(z|y)), the sum of two views as the method's loss

m is trained; z and t are of the same view, as coded (`b_zy1` is made of `target_proj_output2`),
while the prediction is held against the target of the other one. The code's byol_loss_weight is
method.loss_scale. More than two global views count as two do; local views have no target of their
own and add nothing.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trainer.losses.cosine import unit_rows
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_views
from trainer.nets.von_mises_fisher import vmf_sample
from trainer.settings.bounds import Bounded, Count, NotNegative, Positive
from trainer.terms.term import Seen, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """scripts/cbyol.sh, for 256 features."""

    kappa_e: Positive = 16384.0  # concentration of a sample around the predictor's output
    kappa_b: Positive = 10.0  # of what the target would say of it
    hidden_dim: Count = 4096  # of m, as the predictor's
    # In which the loss grows from 0 to its whole: the code's beta_schedule linear_warmup.
    warmup_epochs: NotNegative = 0.0


class CompressPredictor(Term):
    """The predictor's last layer, and the network m of the targets."""

    needs = ("predictions", "momentum_projections")
    changes = "predictions"

    def __init__(self, settings: Settings, widths: dict[str, int]) -> None:
        super().__init__()
        self.settings = settings
        dim, of_target = widths["predictions"], widths["momentum_projections"]
        self.last = nn.Linear(dim, of_target, bias=False)
        dims = (of_target, settings.hidden_dim, dim)
        self.target_projector = mlp(dims, hidden_bias=True, out_bias=False)

    def change(self, thing: Any, seen: Seen) -> torch.Tensor:
        """[V, B, D] what the last layer makes of a sample around each of the predictor's rows."""
        z = vmf_sample(thing, self.settings.kappa_e, seen.uniforms)
        seen.kept["z"] = z
        return self.last(z)

    def forward(self, seen: Seen) -> torch.Tensor:
        """Minus log b(z|y), but for constants: log e(z|x) is one, and so are the normalisers."""
        targets = unit_rows(seen.parts["momentum_projections"])
        said = unit_rows(forward_views(self.target_projector, targets, per_view=True))
        cosine = (seen.kept["z"][: len(said)] * said).sum(-1).mean()
        kappa_b = self.settings.kappa_b * seen.ramp(self.settings.warmup_epochs)
        return -2 * kappa_b * cosine
