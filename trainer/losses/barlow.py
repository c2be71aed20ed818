"""Barlow Twins' loss: features of two views agree one by one, and repeat nothing of each other.

Rows are those of all ranks (distributed.gather_views), so batch statistics and the division by B
are of the global batch, and the gradient is the global loss's. The official code sums C over the
ranks outside autograd: its gradient is 1/W of this one, which LARS hides for weights alone.

Legend: B images, V views of which the first G are the global ones, D features.
"""

import torch

from trainer.losses.auto import Impl, use_fused
from trainer.losses.kernels.gram_op import column_moments

_EPS = 1e-5  # of torch's batch norm


def barlow_loss(
    z: torch.Tensor,  # [V, B, D] any float - projections, global views first
    num_targets: int,  # G
    off_diagonal: float = 0.0051,  # lambda
    impl: Impl = "auto",
) -> torch.Tensor:
    """Mean of the two-view loss over ordered pairs (v, g), g != v a global view; [] float32.

    a, c = bn0(z[v]), bn0(z[g])    every column with mean 0 and biased variance 1
    C = a.T @ c / B
    sum_i (C_ii - 1)^2 + off_diagonal sum_{i != j} C_ij^2

    Sums over D x D entries, not means: C = 0 costs D. Two views are the paper's loss; the mean over
    pairs is our generalisation. Zbontar et al. 2021, 2103.03230, eq. 1 and 2; main.py
    `BarlowTwins.forward`, which standardises with the biased variance as here.
    """
    num_pairs = num_targets * (len(z) - 1)
    if use_fused("barlow", impl, z):
        return _from_moments(z, num_targets, off_diagonal) / num_pairs
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    # Autocast would take the products to bf16, and C is a sum over the batch.
    with torch.autocast(z.device.type, enabled=False):
        variance, mean = torch.var_mean(z, dim=1, correction=0, keepdim=True)
        z = (z - mean) * (variance + _EPS).rsqrt()
        losses = []
        for g in range(num_targets):
            for v in range(g + 1, len(z)):
                # Both orders of two global views transpose C, hence cost the same.
                weight = 2 if v < num_targets else 1
                losses.append(weight * _redundancy(z[v].T @ z[g] / z.shape[1], off_diagonal))
    return torch.stack(losses).sum() / num_pairs


def _redundancy(
    correlation: torch.Tensor,  # [D, D]
    off_diagonal: float,
) -> torch.Tensor:
    squares = correlation.square()
    on = (correlation.diagonal() - 1).square().sum()
    # A difference instead of a mask: D x D is 8192 x 8192, and each copy 268 MB.
    return on + off_diagonal * (squares.sum() - squares.diagonal().sum())


def _from_moments(z: torch.Tensor, num_targets: int, off_diagonal: float) -> torch.Tensor:
    """The sum over pairs: all squares of C at once, then those on its diagonal."""
    _, second, squares, _ = column_moments(z, num_targets, _EPS)
    scale = (second[0] + _EPS).rsqrt()
    on = second[1:] * scale[:num_targets, None] * scale  # [G, V, D]: C_ii
    costs = (on - 1).square() - off_diagonal * on.square()
    itself = torch.eye(*on.shape[:2], dtype=torch.bool, device=z.device)
    return costs.masked_fill(itself[..., None], 0).sum() + off_diagonal * squares
