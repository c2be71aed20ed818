"""Layer-wise adaptive rates: three published variants, which are not interchangeable.

`lars_update` is the whole rule on plain lists of tensors; `LARS` only holds the momentum.
- `lars` (BYOL, Barlow Twins, VICReg, MoCo v3) divides by |g + wd p| and leaves 1-D parameters out
  (a group with `adapt` false); the rate multiplies the momentum.
- `lars_tf` (SimCLR) keeps the rate inside the momentum, so a falling rate forgets more slowly.
- `larc` (SwAV: NVIDIA apex, clip off) divides by |g| + wd |p| and adapts everything.
The multi-tensor calls are those torch.optim itself is made of.
Sources: You et al. 2017, 1708.03888; byol/utils/optimizers.py in google-deepmind/deepmind-research;
lars_optimizer.py in google-research/simclr; apex/parallel/LARC.py in NVIDIA/apex.
"""

# pyright: reportPrivateImportUsage=false

from typing import Any

import torch

from trainer.checks import choose
from trainer.optim.uncompiled import WithMomentum

FORMS = ("lars", "lars_tf", "larc")
_LARC_EPS = 1e-8


@torch.no_grad()
def lars_update(
    params: list[torch.Tensor],  # changed in place
    grads: list[torch.Tensor],  # left as they are
    buffers: list[torch.Tensor],  # momentum, zeros at first; changed in place
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    trust: float,  # eta
    adapt: bool,
    form: str = "lars",
) -> None:
    """One step of SGD with momentum on layer-wise scaled gradients.

    d = g + wd p
    r = trust |p| / |d|                      (form "lars")
    r = trust |p| / (|g| + wd |p| + 1e-8)    (form "larc"; 0 where g is 0: then not even decay)
    r = 1                                    (where p is 0, or `adapt` is false)
    m <- momentum m + r d;     p <- p - lr m      (forms "lars", "larc")
    m <- momentum m + lr r d;  p <- p - m         (form "lars_tf"; the same while lr stands still)
    """
    if not params:
        return
    # A new list: the gradients stay as they are for whoever logs their norm.
    steps = list(torch._foreach_add(grads, params, alpha=weight_decay))
    if adapt:
        if form == "larc":
            ratios = _trust_ratios(params, grads, trust, weight_decay, _LARC_EPS)
        else:
            ratios = _trust_ratios(params, steps, trust)
        steps = list(torch._foreach_mul(steps, ratios))
    rate_in_momentum = form == "lars_tf"
    torch._foreach_mul_(buffers, momentum)
    torch._foreach_add_(buffers, steps, alpha=lr if rate_in_momentum else 1.0)
    torch._foreach_add_(params, buffers, alpha=-1.0 if rate_in_momentum else -lr)


def _trust_ratios(
    params: list[torch.Tensor],
    gradients: list[torch.Tensor],
    trust: float,
    weight_decay: float = 0.0,
    eps: float = 0.0,
) -> list[torch.Tensor]:
    """Per tensor trust |p| / (|g| + wd |p| + eps); 1 where p is 0, 0 where g is 0."""
    # Ratios stay tensors: reading one back would wait for the device in every step.
    p = torch.stack(list(torch._foreach_norm(params)))
    g = torch.stack(list(torch._foreach_norm(gradients)))
    ratios = torch.where(p > 0, trust * p / (g + weight_decay * p + eps), 1.0)
    return list(torch.where(g > 0, ratios, 0.0).unbind())


class LARS(WithMomentum):
    """Holds the momentum of `lars_update`; groups may set lr, weight_decay and adapt."""

    update = staticmethod(lars_update)
    rates = ("lr", "momentum", "weight_decay", "trust", "adapt", "form")

    def __init__(
        self,
        params: Any,
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        adapt: bool = True,
        form: str = "lars",
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "adapt": adapt,
            "form": choose("form of layer-wise adaptation", form, FORMS),
        }
        super().__init__(params, defaults)
