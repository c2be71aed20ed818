"""W-MSE's whitening: parts of a batch get mean 0 and the identity as covariance, and a gradient.

In float64, which costs nothing at these sizes: a covariance squares the spread of its directions.
No step of it asks the device for a number: the factorization's own check, which would, is left out.

Legend: V views, N images of all ranks, W images of a part, D features.
"""

import torch

_SHRINK = 1e-6  # of the mean variance, added to every direction's
_LEAST = 1e-12  # likewise, where there is no variance at all


def partitions_of_step(
    step: int,  # the seed, so that ranks and a resumed run draw the same ones
    num_images: int,  # N
    iterations: int,
) -> torch.Tensor:
    """[iterations, N] int64 on the CPU: orders of the images, whose neighbours are a part."""
    generator = torch.Generator().manual_seed(step)
    return torch.stack([torch.randperm(num_images, generator=generator) for _ in range(iterations)])


def whiten_parts(
    z: torch.Tensor,  # [V, N, D] any float - rows of all ranks
    order: torch.Tensor,  # [N] int64 on z's device - the same for all views
    sub_batch: int,  # images of a part; what does not fill one is spread over the others
) -> torch.Tensor:
    """[V, N, D] float64: the rows in the given order, whitened in every view and part apart."""
    parts = z[:, order].tensor_split(max(1, z.shape[1] // sub_batch), dim=1)
    return torch.cat([whiten(part) for part in parts], dim=1)


def whiten(
    z: torch.Tensor,  # [V, W, D] any float
) -> torch.Tensor:
    """[V, W, D] float64: inv(L) (z - mean), L L.T = covariance + shrink, L lower triangular.

    The covariance has 1 / (W - 1), as in the code. It is shrunk by a millionth of its mean variance
    towards the identity, so that L exists for equal rows (which become 0) and for rows of too few
    directions; the code has a setting for that, at 0. Ermolov et al. 2021, 2007.06346, eq. 6;
    github.com/htdt/self-supervised, methods/whitening.py.
    """
    with torch.autocast(z.device.type, enabled=False):
        z = z.double()
        z = z - z.mean(dim=1, keepdim=True)
        covariance = z.mT @ z / max(1, z.shape[1] - 1)
        variance = covariance.diagonal(dim1=1, dim2=2).mean(1)
        one = torch.eye(z.shape[2], dtype=z.dtype, device=z.device)
        shrunk = covariance + (_SHRINK * variance + _LEAST)[:, None, None] * one
        factor = torch.linalg.cholesky_ex(shrunk).L
        return torch.linalg.solve_triangular(factor, z.mT, upper=False).mT
