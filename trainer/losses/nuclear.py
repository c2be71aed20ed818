"""MMCR's loss: the images' centroids fill as many directions as they can, their views few.

A nuclear norm, the sum of singular values, is large where a matrix's rows point everywhere. It is
the product of the matrix with its polar factor, which products of matrices alone come to: torch's
decompositions ask a GPU for a number, and their gradient has a pole where a singular value is 0.

Legend: V views, B images of this rank, N of all ranks, D features.
"""

import torch

from trainer.distributed import gather_with_grad
from trainer.losses.cosine import unit_rows

_STEPS = 24  # the least singular values that they bring to 1 are 3e-7 of all
_LEAST = 1e-30  # length of a matrix that counts as 0


def mmcr_loss(
    z: torch.Tensor,  # [V, B, D] any float - projections of this rank
    targets: torch.Tensor | None,  # the same of the moving average, without gradient, or none
    local: float = 0.0,  # lambda
) -> torch.Tensor:
    """-|C|_* + local mean_b |u[:, b]|_*, [] float32; -sqrt(N) + local sqrt(V) of equal rows.

    u = n(z), t = n(targets);  C[b] = mean(u[v, b] for v), with targets (mean u + mean t) / 2

    C has the images of all ranks, and so has its gradient. Yerxa et al. 2023, 2303.03307;
    github.com/ThomasYerxa/mmcr, imagenet/loss_mmcr_momentum.py, whose gradient is 1/W of this one
    on W ranks, and which leaves out centroids that are not finite.
    """
    u = unit_rows(z)
    centroids = u.mean(0)
    if targets is not None:
        centroids = (centroids + unit_rows(targets).mean(0)) / 2
    loss = -nuclear_norm(gather_with_grad(centroids).flatten(0, 1))
    if local:
        loss = loss + local * nuclear_norm(u.transpose(0, 1)).mean()
    return loss


def nuclear_norm(
    matrices: torch.Tensor,  # [..., M, D] float32 or float64
) -> torch.Tensor:
    """[...]: the sum of each one's singular values; its gradient is U V.T, 0 in empty directions.

    sum(M * polar(M)): the polar factor needs no gradient of its own, since the sum is largest for
    it among all matrices of singular values up to 1.
    """
    with torch.autocast(matrices.device.type, enabled=False):
        return (matrices * polar_factor(matrices.detach())).sum((-2, -1))


def polar_factor(
    matrices: torch.Tensor,  # [..., M, D] float32 or float64
) -> torch.Tensor:
    """[..., M, D]: U V.T of each one's U S V.T, where S is not 0; 0 there.

    x <- x (15 - 10 x.T x + 3 (x.T x)^2) / 8, from x = M / |M|: an odd polynomial of the singular
    values alone, which takes those above 0 to 1. Bjorck and Bowie 1971, of order 3.
    """
    if matrices.shape[-2] < matrices.shape[-1]:  # the smaller of both products
        return polar_factor(matrices.mT).mT
    x = matrices / torch.linalg.matrix_norm(matrices, keepdim=True).clamp_min(_LEAST)
    for _ in range(_STEPS):
        gram = x.mT @ x
        x = (15 * x - x @ (10 * gram - 3 * gram @ gram)) / 8
    return x
