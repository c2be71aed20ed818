"""W-MSE's whitening: what it promises of covariances, parts, order and collapsed batches."""

import pytest
import torch

from trainer.losses.whitening import partitions_of_step, whiten, whiten_parts


def rows(*shape: int) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x * torch.arange(1, shape[-1] + 1) + x.roll(1, -1) / 2 + 5


def test_rows_are_white() -> None:
    """Mean 0 and the identity as unbiased covariance, of each view; up to the shrink."""
    white = whiten(rows(3, 40, 6))
    assert white.dtype == torch.float64
    for view in white:
        torch.testing.assert_close(view.mean(0), torch.zeros(6).double(), atol=1e-9, rtol=0)
        torch.testing.assert_close(torch.cov(view.T), torch.eye(6).double(), atol=1e-4, rtol=0)


def test_it_is_the_inverse_of_the_lower_factor() -> None:
    """As the code has it: inv(cholesky(covariance)) times the centred row, no other square root."""
    z = rows(1, 30, 4)
    factor = torch.linalg.cholesky(torch.cov(z[0].T))
    expected = (z[0] - z[0].mean(0)) @ torch.linalg.inv(factor).T
    torch.testing.assert_close(whiten(z)[0], expected, rtol=1e-4, atol=1e-5)


def test_every_part_is_whitened_apart() -> None:
    """Rows in the drawn order; what fills no part of its own is spread over the others."""
    z, (order,) = rows(2, 11, 3), partitions_of_step(4, 11, 1)
    white = whiten_parts(z, order, 5)
    expected = [whiten(z[:, part]) for part in (order[:6], order[6:])]
    torch.testing.assert_close(white, torch.cat(expected, 1))


def test_partitions_are_the_steps() -> None:
    """Each is an order of all images, the same for a step whoever asks, and others for the next."""
    first = partitions_of_step(4, 32, 2)
    assert torch.equal(first.sort(1).values, torch.arange(32).expand(2, 32))
    assert torch.equal(first, partitions_of_step(4, 32, 2))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, partitions_of_step(5, 32, 2))


@pytest.mark.parametrize("num_directions", [0, 1, 2])
def test_a_collapsed_batch_stays_finite(num_directions: int) -> None:
    """Equal rows become 0; rows of too few directions are whitened in those; so are gradients."""
    z = (rows(2, 20, num_directions) @ rows(num_directions, 5)).float() if num_directions else None
    z = torch.full((2, 20, 5), 0.7) if z is None else z
    z.requires_grad_()
    white = whiten(z)
    (gradient,) = torch.autograd.grad(white.square().sum(), z)
    assert white.isfinite().all()
    assert gradient.isfinite().all()
    assert (white.abs().max() == 0) == (num_directions == 0)


def test_not_a_number_gets_through() -> None:
    """A batch that has one shows it, in place of an error of the factorization."""
    z = rows(1, 20, 3)
    z[0, 3, 1] = torch.nan
    assert whiten(z).isnan().any()
