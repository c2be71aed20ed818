"""Swapped prediction against its equation, written as loops in float64."""

import math

import pytest
import torch

from trainer.losses.swapped import swapped_prediction_loss


def example(num_views: int, num_codes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.rand(num_views, 5, 7, generator=generator, dtype=torch.float64) - 1
    codes = torch.rand(num_codes, 5, 7, generator=generator, dtype=torch.float64).softmax(-1)
    return scores, codes


def naive(scores: torch.Tensor, codes: torch.Tensor, temperature: float) -> torch.Tensor:
    total = scores.new_zeros(())
    for a in range(len(codes)):
        for v in range(len(scores)):
            if v == a:
                continue
            for b in range(scores.shape[1]):
                p = (scores[v, b] / temperature).exp()
                entropy = -(codes[a, b] * (p / p.sum()).log()).sum()
                total = total + entropy / scores.shape[1] / (len(scores) - 1) / len(codes)
    return total


@pytest.mark.parametrize(("num_views", "num_codes"), [(2, 2), (8, 2), (4, 4), (4, 1)])
def test_equals_the_equation(num_views: int, num_codes: int) -> None:
    """Value and gradient of the scores equal the double sum over codes and other views."""
    scores, codes = example(num_views, num_codes)
    scores.requires_grad_()
    ours, loops = swapped_prediction_loss(scores, codes, 0.1), naive(scores, codes, 0.1)
    torch.testing.assert_close(ours, loops, rtol=1e-12, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(ours, scores), torch.autograd.grad(loops, scores)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("num_prototypes", [10, 3000])
def test_starts_at_log_k(num_prototypes: int) -> None:
    """Equal scores cost ln K whatever the codes: 8.006 for the paper's 3,000 prototypes."""
    codes = torch.rand(2, 4, num_prototypes).softmax(-1)
    loss = swapped_prediction_loss(torch.zeros(8, 4, num_prototypes), codes)
    assert loss.item() == pytest.approx(math.log(num_prototypes), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_scores_are_computed_in_float32(dtype: torch.dtype) -> None:
    """Half-precision scores give the float32 loss of the same numbers."""
    scores, codes = example(8, 2)
    half = scores.to(dtype)
    loss = swapped_prediction_loss(half, codes.float())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, swapped_prediction_loss(half.float(), codes.float()))


def test_own_code_is_not_predicted() -> None:
    """With two views and one code, only the other view's scores get a gradient."""
    scores, codes = example(2, 1)
    scores.requires_grad_()
    (grad,) = torch.autograd.grad(swapped_prediction_loss(scores, codes), scores)
    assert grad[0].abs().max() < 1e-15
    assert grad[1].abs().max() > 0
