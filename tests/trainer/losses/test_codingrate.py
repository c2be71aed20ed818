"""EMP-SSL's terms against the definition, by whole determinants in float64."""

import pytest
import torch

from trainer.losses.codingrate import coding_rate, constant_rate, mean_cosine


def rows(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def naive_rate(z: torch.Tensor, distortion: float) -> torch.Tensor:
    """Of D x D matrices, however few images there are."""
    total = z.new_zeros(())
    for view in z:
        u = torch.stack([row / row.norm() for row in view])
        matrix = torch.eye(u.shape[1], dtype=u.dtype) + u.shape[1] / (len(u) * distortion) * u.T @ u
        total = total + torch.linalg.slogdet(matrix).logabsdet / 2
    return total / len(z)


@pytest.mark.parametrize(("num_images", "dim"), [(4, 9), (9, 4), (5, 5)])
def test_rate_is_the_definition(num_images: int, dim: int) -> None:
    """Value and gradient, with more features than images and with fewer."""
    z = rows(3, num_images, dim).requires_grad_()
    ours, loops = coding_rate(z, 0.2), naive_rate(z, 0.2)
    torch.testing.assert_close(ours, loops, rtol=1e-12, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(ours, z), torch.autograd.grad(loops, z)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


def test_cosine_is_to_the_mean_of_all_views() -> None:
    """The mean of unit rows, whose own length does not count."""
    z = rows(5, 3, 4)
    u = z / z.norm(dim=-1, keepdim=True)
    cosines = [torch.cosine_similarity(u[v], u.mean(0), dim=1) for v in range(5)]
    torch.testing.assert_close(mean_cosine(z), torch.stack(cosines).mean())


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_collapsed_batch_stays_finite(value: float) -> None:
    """Equal rows have the rate that `constant_rate` says, zeros none; both have a gradient."""
    z = torch.full((2, 64, 8), value, requires_grad=True)
    rate = coding_rate(z, 0.2)
    assert rate.item() == pytest.approx(constant_rate(8, 0.2) if value else 0.0, rel=1e-5)
    (gradient,) = torch.autograd.grad(rate + mean_cosine(z), z)
    assert gradient.isfinite().all()
    assert coding_rate(rows(2, 64, 8), 0.2) > 2 * constant_rate(8, 0.2)


def test_half_inputs_are_computed_in_float32() -> None:
    """Under autocast too."""
    z = rows(2, 8, 16).to(torch.bfloat16)
    expected = coding_rate(z.float())
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(coding_rate(z), expected)
