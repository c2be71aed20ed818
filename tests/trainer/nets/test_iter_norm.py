"""Iterative normalisation: Newton's steps written out, groups, and what equal rows become."""

import torch

from trainer.nets.iter_norm import IterNorm, iterative_whitening


def rows(*shape: int) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x * torch.arange(1, shape[-1] + 1) + x.roll(1, -1)


def naive(x: torch.Tensor, steps: int) -> torch.Tensor:
    """As the paper's algorithm, features in columns."""
    n, k = x.shape
    centred = (x - x.sum(0) / n).T
    sigma = centred @ centred.T / n + 1e-5 * torch.eye(k)
    p, normed = torch.eye(k, dtype=x.dtype), sigma / sigma.trace()
    for _ in range(steps):
        p = 1.5 * p - 0.5 * torch.linalg.matrix_power(p, 3) @ normed
    return (p / sigma.trace().sqrt() @ centred).T


def test_groups_of_views_are_whitened_apart() -> None:
    """Neighbouring features are a group; every view has statistics of its own; then the scale."""
    layer = IterNorm(6, 2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1, 7))
    z = rows(3, 20, 6)
    expected = torch.stack(
        [torch.cat([naive(view[:, :3], 5), naive(view[:, 3:], 5)], dim=1) for view in z]
    )
    torch.testing.assert_close(layer(z), expected * torch.arange(1, 7))


def test_more_steps_are_white() -> None:
    """The covariance is the identity, as five steps leave it only where features vary alike."""
    white = iterative_whitening(rows(60, 4), 12)
    torch.testing.assert_close(white.T @ white / 60, torch.eye(4).double(), atol=1e-4, rtol=0)


def test_a_collapsed_batch_stays_finite() -> None:
    """Equal rows become 0, and have a gradient."""
    z = torch.full((2, 8, 6), 3.0, requires_grad=True)
    out = IterNorm(6, 2)(z)
    (gradient,) = torch.autograd.grad(out.square().sum(), z)
    assert torch.equal(out, torch.zeros_like(out))
    assert gradient.isfinite().all()
