"""TiCo's loss and covariance against loops written from the equations in float64."""

import pytest
import torch

from trainer.losses.tico import running_covariance, tico_loss


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(z: torch.Tensor, t: torch.Tensor, c: torch.Tensor, rho: float) -> torch.Tensor:
    """Both means, row by row."""
    u = [[row / row.norm() for row in view] for view in z]
    targets = [[row / row.norm() for row in view] for view in t]
    images, views = range(z.shape[1]), range(len(z))
    alike = [
        u[v][b] @ targets[g][b] for v in views for g in range(len(t)) if v != g for b in images
    ]
    contrast = [u[v][b] @ c @ u[v][b] for v in views for b in images]
    return 1 - torch.stack(alike).mean() + rho * torch.stack(contrast).mean()


@pytest.mark.parametrize(("num_views", "num_targets"), [(2, 2), (8, 2), (4, 4)])
def test_it_is_the_equation(num_views: int, num_targets: int) -> None:
    """Value and gradient equal the loops'; the covariance and the targets have none."""
    z, t = rows(num_views, 3, 4).requires_grad_(), rows(num_targets, 3, 4, seed=1)
    c = running_covariance(rows(4, 4, seed=2), z, 0.9)
    assert not c.requires_grad
    ours, loops = tico_loss(z, t, c, 8.0), naive(z, t, c, 8.0)
    torch.testing.assert_close(ours, loops, rtol=1e-12, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(ours, z), torch.autograd.grad(loops, z)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_the_covariance_moves_by_a_tenth() -> None:
    """beta of what it was and the rest of the mean outer product, its argument left as it is."""
    z, before = rows(2, 3, 4), rows(4, 4, seed=2)
    kept = before.clone()
    outer = [torch.outer(row, row) / row.square().sum() for view in z for row in view]
    expected = 0.9 * before + 0.1 * torch.stack(outer).mean(0)
    torch.testing.assert_close(running_covariance(before, z, 0.9), expected)
    assert torch.equal(before, kept)


def test_half_inputs_are_computed_in_float32() -> None:
    """Under autocast too."""
    z, t = rows(2, 8, 16).to(torch.bfloat16), rows(2, 8, 16, seed=1).to(torch.bfloat16)
    zeros = torch.zeros(16, 16)
    expected = tico_loss(z.float(), t.float(), running_covariance(zeros, z.float(), 0.5))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tico_loss(z, t, running_covariance(zeros, z, 0.5)), expected)
