"""SSL-HSIC against loops written from its definition in float64."""

import pytest
import torch

from trainer.losses.hsic import hsic_loss


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(z: torch.Tensor, gamma: float, width: float) -> torch.Tensor:
    """tr(K H K H) / M^2 with the centring matrix H; labels as pairs of rows of one image."""
    num_views, num_images, _ = z.shape
    u = [row / row.norm() for view in z for row in view]
    m = len(u)
    k = torch.stack(
        [torch.stack([width / (width**2 + (a - b).square().sum()).sqrt() for b in u]) for a in u]
    )
    h = torch.eye(m, dtype=z.dtype) - 1 / m
    within = torch.trace(k @ h @ k @ h) / m**2
    same = sum(k[i, j] for i in range(m) for j in range(m) if (i - j) % num_images == 0)
    return gamma * within.sqrt() - (same / (m * (num_views - 1)) - k.mean())


@pytest.mark.parametrize("impl", ["torch", "fused"])
@pytest.mark.parametrize("width", [0.3, 1.0, 4.0])
@pytest.mark.parametrize(("num_views", "num_images"), [(2, 5), (4, 3), (3, 1)])
def test_equals_the_definition(num_views: int, num_images: int, width: float, impl: str) -> None:
    """Value and gradient equal the loops."""
    z = rows(num_views, num_images, 6).requires_grad_()
    ours, loops = hsic_loss(z, 3.0, width, impl), naive(z, 3.0, width)
    torch.testing.assert_close(ours, loops, rtol=1e-10, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(ours, z), torch.autograd.grad(loops, z)
    assert theirs.abs().max() > 0
    torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("impl", ["torch", "fused"])
def test_images_at_right_angles_cost_little(impl: str) -> None:
    """Views that agree, images that differ: the features say the image; by chance they do not."""
    apart = torch.eye(16)[None].expand(2, 16, 16)
    mixed = torch.stack([apart[0], apart[1].roll(1, 0)])
    assert hsic_loss(apart, impl=impl) < hsic_loss(mixed, impl=impl) - 0.3


@pytest.mark.parametrize("impl", ["torch", "fused"])
@pytest.mark.parametrize("num_views", [2, 4])
def test_collapse_has_a_known_cost_and_no_nan(num_views: int, impl: str) -> None:
    """Equal rows cost 1 / (1 - V): the root of nothing has no slope there."""
    z = torch.ones(num_views, 5, 3, dtype=torch.float64).requires_grad_()
    loss = hsic_loss(z, impl=impl)
    assert loss.item() == pytest.approx(1 / (1 - num_views), abs=1e-5)
    assert torch.autograd.grad(loss, z)[0].isfinite().all()


def test_what_is_without_gradient_is_a_view_like_others() -> None:
    """Targets' projections beside predictions, as in the code."""
    p, t = rows(2, 4, 5).requires_grad_(), rows(2, 4, 5, seed=1)
    (grad,) = torch.autograd.grad(hsic_loss(torch.cat([p, t])), p)
    assert grad.abs().max() > 0
