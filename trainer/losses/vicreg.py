"""VICReg's three terms: views agree, every feature varies, and no two features vary together.

Rows are those of all ranks (distributed.gather_views), so all three are of the global batch, and so
is their gradient. The code's conventions: means over features where the paper's equations differ.

Legend: B images, V views of which the first G are the global ones, D features.
"""

from typing import NamedTuple

import torch

from trainer.checks import require
from trainer.losses.auto import Impl, use_fused
from trainer.losses.kernels.gram_op import column_moments

_EPS = 1e-4  # under the square root


class Terms(NamedTuple):
    """The terms that the loss weighs and sums; [] float32 each."""

    invariance: torch.Tensor
    variance: torch.Tensor
    covariance: torch.Tensor


def vicreg_terms(
    z: torch.Tensor,  # [V, B, D] any float - global views first
    num_targets: int,  # G
    impl: Impl = "auto",
) -> Terms:
    """The three terms below; the fused form has them from one operator, of at least two images."""
    num_views, num_images, dim = z.shape
    if not use_fused("vicreg", impl, z, is_possible=num_images > 1):
        return Terms(invariance(z, num_targets), variance(z), covariance(z))
    rule = "fused VICReg takes at least 2 images"
    require(num_images > 1, rule, num_images, "raise the batch size")
    mean, second, squares, _ = column_moments(z, num_targets, None)
    unbiased = num_images / (num_images - 1)
    apart = second[1:] + (mean - mean[:num_targets, None]).square()  # [G, V, D]
    variances = second[0] * unbiased  # [V, D]
    beside = squares * unbiased**2 - variances.square().sum()
    return Terms(
        apart.sum() / (num_targets * (num_views - 1) * dim),
        (1 - (variances + _EPS).sqrt()).relu().mean(),
        2 * beside / (num_views * dim),
    )


def invariance(
    z: torch.Tensor,  # [V, B, D] any float - global views first
    num_targets: int,  # G
) -> torch.Tensor:
    """Mean over pairs (v, g), g != v a global view, images and features of (z_v - z_g)^2; [].

    Two views: the mean squared error of main_vicreg.py; the paper's eq. 5 sums over features.
    """
    z = _full(z)
    # The pair (g, g) adds 0.
    total = torch.stack([(z - z[g]).square().sum() for g in range(num_targets)]).sum()
    return total / (num_targets * (len(z) - 1) * z[0].numel())


def variance(
    z: torch.Tensor,  # [V, B, D] any float
) -> torch.Tensor:
    """Mean over views and features of max(0, 1 - sqrt(Var_b(z[v, b, d]) + 1e-4)), Var unbiased; [].

    Two views: half the paper's sum of two terms (eq. 1), as in main_vicreg.py. The root matters: it
    keeps the pull on a column of small spread, where the variance's own gradient fades with it.
    """
    deviation = (_full(z).var(dim=1) + _EPS).sqrt()
    return (1 - deviation).relu().mean()


def covariance(
    z: torch.Tensor,  # [V, B, D] any float
) -> torch.Tensor:
    """Twice the mean over views of sum_{i != j} Cov_ij^2 / D, Cov = zc.T @ zc / (B - 1); [].

    zc = z - mean_b(z). Two views: the sum of their two terms, as in paper (eq. 3, 4) and code.
    """
    z = _full(z)
    # Autocast would take the product to bf16.
    with torch.autocast(z.device.type, enabled=False):
        z = z - z.mean(dim=1, keepdim=True)
        terms = [_off_diagonal(view.T @ view / (len(view) - 1)) for view in z]
    return 2 * torch.stack(terms).mean()


def _off_diagonal(
    matrix: torch.Tensor,  # [D, D]
) -> torch.Tensor:
    """Sum of the squares beside the diagonal over D."""
    squares = matrix.square()
    return (squares.sum() - squares.diagonal().sum()) / len(matrix)


def _full(z: torch.Tensor) -> torch.Tensor:
    return z.to(torch.promote_types(z.dtype, torch.float32))
