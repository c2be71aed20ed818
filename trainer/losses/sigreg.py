"""SIGReg: embeddings are distributed as a standard normal, tested along random directions.

Balestriero and LeCun 2025, 2511.08544: a law is a standard normal where each of its projections is
one (Cramer and Wold), and the Epps-Pulley statistic says how far a sample of numbers is from that,
by its characteristic function. Cost and what ranks exchange are linear in images and features.
The code's conventions (github.com/rbalestr-lab/lejepa, univariate/epps_pulley.py): 17 points of
[0, 3], each doubled for its mirror image; the statistic has the factor of the number of images.

Legend: B images of this rank, V views, D features, M directions, K points.
"""

import torch
from torch.nn import functional as F

from trainer.distributed import gather_with_grad, world_size

NUM_POINTS, LAST_POINT = 17, 3.0


def directions_of_step(
    step: int,  # the seed, so that ranks and a resumed run draw the same ones
    dim: int,  # D
    num_directions: int,  # M
) -> torch.Tensor:
    """[D, M] float32 on the CPU: columns of length 1, uniform on the sphere, other ones a step."""
    generator = torch.Generator().manual_seed(step)
    return F.normalize(torch.randn(dim, num_directions, generator=generator), dim=0)


def sigreg(
    z: torch.Tensor,  # [V, B, D] any float - views are tested apart
    directions: torch.Tensor,  # [D, M] float32 - columns of length 1, the same on every rank
) -> torch.Tensor:
    """Mean over views and directions of the statistic below, x = z @ direction; [] float32.

        N * integral of |mean_n exp(i t x_n) - exp(-t^2/2)|^2 exp(-t^2/2) dt over [-3, 3]

    N and the mean are of all ranks, and so is the gradient; the integral is a trapezium rule's. It
    is about 1 for N draws of the normal, and grows with N for anything else.
    """
    # Autocast would take the product to bf16.
    with torch.autocast(z.device.type, enabled=False):
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        points, weights = _rule(z)
        angles = (z @ directions.to(z)).unsqueeze(-1) * points  # [V, B, M, K]
        means = torch.stack([angles.cos().mean(1), angles.sin().mean(1)])  # [2, V, M, K]
        real, imaginary = gather_with_grad(means).mean(0)
        normal = (-points.square() / 2).exp()
        error = (real - normal).square() + imaginary.square()
        return z.shape[1] * world_size() * (error @ (weights * normal)).mean()


def constant_sigreg(
    num_images: int,  # of all ranks
) -> float:
    """The least `sigreg` of equal embeddings: theirs at the origin, N times a constant."""
    points, weights = _rule(torch.zeros((), dtype=torch.float64))
    normal = (-points.square() / 2).exp()
    return num_images * ((1 - normal).square() @ (weights * normal)).item()


def prediction(
    z: torch.Tensor,  # [V, B, D] any float - global views first
    num_targets: int,  # G
) -> torch.Tensor:
    """Mean over views, images and features of (z_v - mean_g z_g)^2, g the global views; [] float32.

    Of this rank's images. Gradients flow into both sides.
    """
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    return (z - z[:num_targets].mean(0)).square().mean()


def _rule(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Points [K] of the trapezium rule on [0, 3], and weights [K] of a function that is even."""
    points = torch.linspace(0, LAST_POINT, NUM_POINTS, dtype=like.dtype, device=like.device)
    weights = torch.full_like(points, 2 * LAST_POINT / (NUM_POINTS - 1))
    weights[[0, -1]] /= 2
    return points, weights
