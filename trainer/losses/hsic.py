"""SSL-HSIC: features depend on which image they are of, and on little else.

HSIC measures how much two variables depend on each other, by kernels of their values. Here that of
the features is the inverse multiquadric of unit rows, that of the image 1 for the same one.

Legend: V views, W ranks, B images of each, D features.
"""

import torch

from trainer.checks import require
from trainer.distributed import gather_rows, gather_views, gather_with_grad, rank
from trainer.losses.auto import Impl, use_fused
from trainer.losses.cosine import EPS, unit_rows
from trainer.losses.kernels.hsic_op import kernel_sums
from trainer.losses.kernels.hsic_tiles import at_right_angles, inverse_multiquadric

_LEAST = 1e-12  # HSIC of features: its root has no slope at 0, where all are equal


def hsic_loss(
    z: torch.Tensor,  # [V, B, D] any float - of this rank; views without gradient may be among them
    gamma: float = 3.0,  # weight of what is independent of the image
    width: float | torch.Tensor = 1.0,  # c of the kernel; "fused" reads a tensor, "auto" never
    impl: Impl = "auto",
) -> torch.Tensor:
    """Gamma sqrt(HSIC(Z, Z)) - HSIC(Z, Y) over all ranks' images, [] float32.

    u = n(z), N = W B, M = V N rows
    K[i, j] = c / sqrt(c^2 + |u[i] - u[j]|^2);    L = K - row means - column means + mean
    HSIC(Z, Z) = sum L^2 / M^2
    HSIC(Z, Y) = sum over i, j of one image of K[i, j] / (M (V - 1)) - sum K / M^2

    1 / (1 - V) when all rows are equal, up to gamma 1e-6. Li et al. 2021, 2106.08320, and its
    code's scales; ssl_hsic/kernels.py draws random features in place of K and learns c.
    """
    num_views = len(z)
    require(num_views >= 2, "hsic takes at least two views", num_views, "add one")
    if use_fused("hsic", impl, z, is_possible=not isinstance(width, torch.Tensor)):
        within, between, same = _fused(z, float(width))
    else:
        within, between, same = _plain(z, width)
    return gamma * within.clamp_min(_LEAST).sqrt() - (same / (num_views - 1) - between)


def _plain(
    z: torch.Tensor, width: float | torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """HSIC(Z, Z), mean K, and the sum of K over an image's own rows by that of rows; all []."""
    u = gather_views(unit_rows(z))  # [V, N, D]
    # Autocast would take the product to bf16.
    with torch.autocast(z.device.type, enabled=False):
        flat = u.flatten(0, 1)
        k = inverse_multiquadric(flat @ flat.T, width)
    mean = k.mean(0)
    centred = k - mean - mean[:, None] + mean.mean()
    of_images = k.unflatten(1, u.shape[:2]).unflatten(0, u.shape[:2]).diagonal(dim1=1, dim2=3)
    return centred.square().mean(), mean.mean(), of_images.sum() / len(flat)


def _fused(z: torch.Tensor, width: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same from sums over rows of K - k0, k0 the kernel of rows at right angles.

    A constant changes no HSIC; less is left of a difference of large sums without it.
    """
    rows = z.flatten(0, 1)
    everyone = gather_rows(rows.detach())
    own = kernel_sums(rows, everyone, rank() * len(rows), width, EPS)
    sums, squares = gather_with_grad(torch.stack(own)).unbind(1)  # [W, M / W] each
    num_rows, k0 = len(everyone), at_right_angles(width)
    within = squares.mean() - 2 * sums.square().mean() / num_rows + sums.mean().square() / num_rows
    u = unit_rows(z)
    of_pairs = [
        # Twice for both orders of two views.
        (1 if v == w else 2) * inverse_multiquadric((u[v] * u[w]).sum(-1), width).sum()
        for v in range(len(u))
        for w in range(v + 1)
    ]
    same = gather_with_grad(torch.stack(of_pairs).sum()).sum()
    return within / num_rows, sums.mean() / num_rows + k0, same / num_rows
