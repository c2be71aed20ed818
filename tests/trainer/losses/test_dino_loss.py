"""DINO's loss, targets and center against their equations in float64."""

import math

import pytest
import torch

from trainer.losses.dino import dino_loss, teacher_probabilities, updated_center


def scores(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1


def naive(
    student: torch.Tensor, teacher: torch.Tensor, center: torch.Tensor, low: float, high: float
) -> torch.Tensor:
    """Pair by pair and image by image, with plain exponentials; low: the teacher's temperature."""
    terms = []
    for g in range(len(teacher)):
        for v in range(len(student)):
            if v == g:
                continue
            for b in range(student.shape[1]):
                p = ((teacher[g, b] - center) / low).exp()
                q = (student[v, b] / high).exp()
                terms.append(-((p / p.sum()) * (q / q.sum()).log()).sum())
    return torch.stack(terms).mean()


@pytest.mark.parametrize(("num_views", "num_targets"), [(2, 2), (10, 2), (4, 4), (4, 1)])
@pytest.mark.parametrize(("low", "high"), [(0.04, 0.1), (1.0, 1.0), (0.01, 0.02)])
def test_equals_the_equation(num_views: int, num_targets: int, low: float, high: float) -> None:
    """Value and the student's gradient equal the loops; the teacher gets none."""
    student = scores(num_views, 5, 7).requires_grad_()
    teacher = scores(num_targets, 5, 7, seed=1).requires_grad_()
    center = scores(7, seed=2) / 4
    targets = teacher_probabilities(teacher, center, low)
    assert not targets.requires_grad
    ours, loops = dino_loss(student, targets, high), naive(student, teacher, center, low, high)
    torch.testing.assert_close(ours, loops, rtol=1e-11, atol=1e-11)
    (mine,) = torch.autograd.grad(ours, student)
    (theirs,) = torch.autograd.grad(loops, student)
    torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("num_prototypes", [10, 65536])
def test_equal_scores_cost_log_k(num_prototypes: int) -> None:
    """A student without opinion costs ln K: 11.09 for the paper's 65,536 prototypes."""
    targets = torch.rand(2, 3, num_prototypes).softmax(-1)
    loss = dino_loss(torch.zeros(4, 3, num_prototypes), targets)
    assert loss.item() == pytest.approx(math.log(num_prototypes), rel=1e-5)


def test_a_uniform_teacher_costs_at_least_log_k() -> None:
    """Scores equal to the center give 1 / K; then only a uniform student reaches ln K."""
    center = scores(9)
    targets = teacher_probabilities(center.expand(2, 4, 9), center, 0.04)
    torch.testing.assert_close(targets, torch.full_like(targets, 1 / 9))
    assert dino_loss(scores(4, 4, 9), targets).item() > math.log(9)
    assert dino_loss(torch.ones(4, 4, 9), targets).item() == pytest.approx(math.log(9), rel=1e-6)


def test_sharper_targets_have_less_entropy() -> None:
    """A lower teacher temperature concentrates; rows sum to 1 at every temperature."""
    entropies = []
    for temperature in (1.0, 0.07, 0.04, 1e-4):
        targets = teacher_probabilities(50 * scores(2, 6, 11).float(), torch.zeros(11), temperature)
        assert targets.isfinite().all()
        torch.testing.assert_close(targets.sum(-1), torch.ones(2, 6))
        entropies.append(torch.special.entr(targets).sum().item())
    assert entropies == sorted(entropies, reverse=True)


def test_an_own_view_is_not_predicted() -> None:
    """With two views and one target, only the other view's scores get a gradient."""
    student = scores(2, 5, 7).requires_grad_()
    targets = teacher_probabilities(scores(1, 5, 7, seed=1), torch.zeros(7), 0.04)
    (grad,) = torch.autograd.grad(dino_loss(student, targets), student)
    assert grad[0].abs().max() < 1e-15
    assert grad[1].abs().max() > 0
    # Softmax minus targets: every row's gradient sums to 0.
    assert grad.sum(-1).abs().max() < 1e-15


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_scores_are_computed_in_float32(dtype: torch.dtype) -> None:
    """Half-precision scores give the float32 loss, targets and center of the same numbers."""
    student, teacher = scores(6, 5, 33).to(dtype), scores(2, 5, 33, seed=1).to(dtype)
    center = torch.linspace(-0.1, 0.1, 33)
    targets = teacher_probabilities(teacher, center, 0.04)
    assert targets.dtype == torch.float32
    assert torch.equal(targets, teacher_probabilities(teacher.float(), center, 0.04))
    assert torch.equal(dino_loss(student, targets), dino_loss(student.float(), targets))
    assert torch.equal(
        updated_center(center, teacher, 0.9), updated_center(center, teacher.float(), 0.9)
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_center_is_the_closed_form(momentum: float) -> None:
    """Momentum times the old one plus the rest of the mean over views and images; the old stays."""
    center, logits = scores(7), scores(2, 5, 7, seed=1)
    before = center.clone()
    expected = momentum * center + (1 - momentum) * logits.flatten(0, 1).mean(0)
    torch.testing.assert_close(updated_center(center, logits, momentum), expected)
    assert torch.equal(center, before)
