"""Iterative normalisation: groups of features are whitened over a batch by Newton's iteration.

Huang et al. 2019, 1904.03441; the layer that VIbCReg ends its projector with. It stands behind the
gather of all ranks' rows, so its statistics are theirs; it keeps no running ones, since nobody
evaluates a projector.

Legend: V views, N images of all ranks, D features, G groups of K.
"""

import torch
from torch import nn

_EPS = 1e-5  # added to every variance


class IterNorm(nn.Module):
    """Whitening in five steps and a scale for every feature; its shift would leave every loss."""

    def __init__(self, dim: int, num_groups: int) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """[V, N, D] of any float to float32; every view has statistics of its own."""
        with torch.autocast(z.device.type, enabled=False):
            z = z.to(torch.promote_types(z.dtype, torch.float32))
            groups = z.unflatten(2, (self.num_groups, -1)).transpose(1, 2)  # [V, G, N, K]
            return iterative_whitening(groups, steps=5).transpose(1, 2).flatten(2) * self.weight


def iterative_whitening(
    x: torch.Tensor,  # [..., N, K] float32 or float64
    steps: int,
) -> torch.Tensor:
    """[..., N, K]: rows less their mean, times an approximation of covariance^(-1/2).

    S = covariance / N + 1e-5;  s = S / trace S
    p <- (3 p - p^3 s) / 2, from 1;  p / sqrt(trace S)

    Five steps leave a feature short of variance 1 where the others of its group vary more. Finite
    for equal rows, which become 0.
    """
    x = x - x.mean(dim=-2, keepdim=True)
    one = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    covariance = x.mT @ x / x.shape[-2] + _EPS * one
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    share, p = covariance / trace, one
    for _ in range(steps):
        p = (3 * p - p @ p @ p @ share) / 2
    return x @ (p * trace.rsqrt())
