"""Sinkhorn codes: SwAV's published form, invariants, and scores no exponential survives."""

import pytest
import torch

from trainer.losses.sinkhorn import sinkhorn


def scores(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1


def published(s: torch.Tensor, epsilon: float, iterations: int) -> torch.Tensor:
    """The multiplicative form on one [B, K] matrix: rescale rows to 1/K, columns to 1/B."""
    q = torch.exp(s / epsilon).t()
    num_prototypes, batch_size = q.shape
    q = q / q.sum()
    for _ in range(iterations):
        q = q / q.sum(dim=1, keepdim=True) / num_prototypes
        q = q / q.sum(dim=0, keepdim=True) / batch_size
    return (q * batch_size).t()


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize(("batch_size", "num_prototypes"), [(16, 5), (7, 30), (1, 4), (5, 1)])
def test_equals_the_published_form(batch_size: int, num_prototypes: int, iterations: int) -> None:
    """In float64 the log-domain codes are those of the multiplicative algorithm."""
    s = scores(2, batch_size, num_prototypes)
    codes = sinkhorn(s, epsilon=0.05, iterations=iterations)
    for crop in range(2):
        torch.testing.assert_close(
            codes[crop], published(s[crop], 0.05, iterations), rtol=1e-11, atol=1e-13
        )


def test_rows_sum_to_one_and_columns_balance() -> None:
    """Rows sum to 1 after any number of iterations, columns to B / K after many."""
    s = scores(1, 24, 6)
    few, many = sinkhorn(s, iterations=1), sinkhorn(s, iterations=2000)
    ones = torch.ones(1, 24, dtype=torch.float64)
    torch.testing.assert_close(few.sum(-1), ones)
    torch.testing.assert_close(many.sum(-1), ones)
    torch.testing.assert_close(many.sum(1), torch.full((1, 6), 4.0, dtype=torch.float64))
    assert (few.sum(1) - 4).abs().max() > 0.1


def test_constant_shifts_change_nothing() -> None:
    """A constant added to all scores, or to one prototype's, leaves the codes as they are."""
    s = scores(1, 12, 5)
    torch.testing.assert_close(sinkhorn(s + 3), sinkhorn(s))
    torch.testing.assert_close(sinkhorn(s + torch.arange(5)), sinkhorn(s))


@pytest.mark.parametrize("scale", [1.0, 50.0, 1e3])
def test_no_score_overflows(scale: float) -> None:
    """Scores up to +-1e3 at epsilon 0.05 (exponents of 20,000) give finite rows that sum to 1."""
    codes = sinkhorn((scale * scores(2, 32, 16)).float())
    assert codes.dtype == torch.float32
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(-1), torch.ones(2, 32), rtol=0, atol=5e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_scores_are_solved_in_float32(dtype: torch.dtype) -> None:
    """Half-precision scores, whose exponentials overflow in float16, equal their float32 codes."""
    s = scores(1, 32, 16).to(dtype)
    torch.testing.assert_close(sinkhorn(s), sinkhorn(s.float()), rtol=0, atol=0)


def test_equal_scores_give_uniform_codes_without_gradient() -> None:
    """Nothing to tell prototypes apart: 1 / K everywhere; and codes never carry a gradient."""
    codes = sinkhorn(torch.zeros(1, 6, 4, requires_grad=True))
    assert not codes.requires_grad
    torch.testing.assert_close(codes, torch.full((1, 6, 4), 0.25))


def test_queue_rows_change_the_balance() -> None:
    """Rows put in front (a queue) take part: the batch's codes differ from those alone."""
    s = scores(1, 40, 8)
    assert (sinkhorn(s)[:, -8:] - sinkhorn(s[:, -8:])).abs().max() > 1e-3
