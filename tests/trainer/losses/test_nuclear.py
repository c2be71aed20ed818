"""MMCR's loss against singular values, and its gradient against U V.T, whatever their number."""

import pytest
import torch

from trainer.losses.nuclear import mmcr_loss, nuclear_norm, polar_factor


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (3, 6, 4), (1, 4), (6, 1)])
def test_it_is_the_sum_of_singular_values(shape: tuple[int, ...]) -> None:
    """Wide, tall and many at once; the gradient is the polar factor."""
    m = rows(*shape).requires_grad_()
    norms = nuclear_norm(m)
    torch.testing.assert_close(norms, torch.linalg.svdvals(m).sum(-1), rtol=1e-12, atol=1e-12)
    (mine,) = torch.autograd.grad(norms.sum(), m)
    u, _, v = torch.linalg.svd(m.detach(), full_matrices=False)
    torch.testing.assert_close(mine, u @ v, rtol=1e-8, atol=1e-9)


def test_float32_of_a_large_batch() -> None:
    """Singular values from 1 down to a millionth: within 1e-5 of their sum in float64."""
    u, v = (torch.linalg.qr(rows(n, 64, seed=n)).Q for n in (256, 64))
    values = torch.logspace(0, -6, 64, dtype=torch.float64)
    found = nuclear_norm((u * values @ v.T).float())
    assert found.item() == pytest.approx(values.sum().item(), rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_collapsed_batch_stays_finite(value: float) -> None:
    """Equal rows have one direction, zeros none: no slope is infinite there."""
    m = torch.full((8, 5), value, requires_grad=True)
    norm = nuclear_norm(m)
    assert norm.item() == pytest.approx(value * 40**0.5, rel=1e-6)
    (gradient,) = torch.autograd.grad(norm, m)
    assert gradient.isfinite().all()
    torch.testing.assert_close(gradient, torch.full((8, 5), value / 40**0.5))
    assert polar_factor(m.detach()).norm() <= 1 + 1e-6


def naive(z: torch.Tensor, t: torch.Tensor | None, local: float) -> torch.Tensor:
    """Of centroids, image by image, by singular values."""
    both = [z] if t is None else [z, t]
    means = [
        [sum(row / row.norm() for row in image) / len(image) for image in side.transpose(0, 1)]
        for side in both
    ]
    centroids = torch.stack([torch.stack(side) for side in means]).mean(0)
    images = [torch.stack([row / row.norm() for row in image]) for image in z.transpose(0, 1)]
    spread = torch.stack([torch.linalg.svdvals(image).sum() for image in images]).mean()
    return -torch.linalg.svdvals(centroids).sum() + local * spread


@pytest.mark.parametrize("has_targets", [True, False])
@pytest.mark.parametrize("local", [0.0, 0.5])
@pytest.mark.parametrize("num_views", [2, 5])
def test_loss_is_the_equation(num_views: int, local: float, has_targets: bool) -> None:
    """Value and gradient equal those of singular values; a target has no gradient of its own."""
    z = rows(num_views, 6, 4).requires_grad_()
    t = rows(num_views, 6, 4, seed=1) if has_targets else None
    ours, loops = mmcr_loss(z, t, local), naive(z, t, local)
    torch.testing.assert_close(ours, loops, rtol=1e-10, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(ours, z), torch.autograd.grad(loops, z)
    torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)
