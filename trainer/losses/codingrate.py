"""EMP-SSL's terms: views come to their mean, and a view's embeddings take many bits to write down.

The total coding rate counts the bits of a batch of unit rows up to a distortion: most where they
point everywhere. The matrix whose determinant it takes has no eigenvalue below 1, whatever the
rows, so its factorization exists for equal ones too; its own check, which would ask the device for
a number, is left out.

Legend: V views, B images of this rank, N of all ranks, D features.
"""

import math

import torch

from trainer.distributed import gather_views
from trainer.losses.cosine import unit_rows


def mean_cosine(
    z: torch.Tensor,  # [V, B, D] any float
) -> torch.Tensor:
    """Mean over views and images of cos(u[v, b], mean_w u[w, b]), u = n(z); [] float32.

    Of this rank's images. The mean is of all views and has a gradient.
    """
    u = unit_rows(z)
    return (u * unit_rows(u.mean(0))).sum(-1).mean()


def coding_rate(
    z: torch.Tensor,  # [V, B, D] any float
    distortion: float = 0.2,  # eps; the code does not square it
) -> torch.Tensor:
    """Mean over views of logdet(1 + D / (N distortion) u.T u) / 2, u = n(z) of a view; [] float32.

    Of all ranks' images, and so is the gradient; `constant_rate` of equal rows. Tong et al. 2023,
    2304.03977; github.com/tsb0601/EMP-SSL, loss.py. The smaller of u.T u and u u.T: both have the
    same determinant.
    """
    u = gather_views(unit_rows(z))
    num_images, dim = u.shape[1:]
    if num_images > dim:
        u = u.mT
    # Autocast would take the product to bf16.
    with torch.autocast(u.device.type, enabled=False):
        one = torch.eye(u.shape[1], dtype=u.dtype, device=u.device)
        matrix = one + dim / (num_images * distortion) * (u @ u.mT)
        factor = torch.linalg.cholesky_ex(matrix).L
    # Half a logdet is the sum of the factor's.
    return factor.diagonal(dim1=1, dim2=2).log().sum(1).mean()


def constant_rate(
    dim: int,  # D
    distortion: float,
) -> float:
    """The `coding_rate` of equal embeddings, which is the least of all."""
    return math.log1p(dim / distortion) / 2
