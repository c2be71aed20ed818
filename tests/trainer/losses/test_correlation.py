"""VIbCReg's covariance term against the code's two means in float64."""

import pytest
import torch

from trainer.losses.correlation import correlation


def rows(*shape: int) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x * torch.arange(1, shape[-1] + 1) + x.roll(1, -1)


@pytest.mark.parametrize("num_views", [2, 5])
def test_it_is_the_codes(num_views: int) -> None:
    """Twice the mean over views of the mean square of correlations, the diagonal counted as 0."""
    z = rows(num_views, 7, 4)
    squares = [(torch.corrcoef(view.T).square() * (1 - torch.eye(4))).mean() for view in z]
    torch.testing.assert_close(correlation(z), 2 * torch.stack(squares).mean())


def test_scales_do_not_count() -> None:
    """A feature a thousand times as large correlates as before."""
    z, scales = rows(2, 7, 4), torch.tensor([1.0, 1000.0, 0.01, 3.0])
    torch.testing.assert_close(correlation(z * scales + 5), correlation(z))


def test_a_collapsed_batch_costs_nothing_and_stays_finite() -> None:
    """Constant features correlate with none, and have a gradient of 0."""
    z = torch.full((2, 7, 4), 0.25, requires_grad=True)
    (gradient,) = torch.autograd.grad(correlation(z), z)
    assert correlation(z).item() == 0
    assert torch.equal(gradient, torch.zeros_like(z))
