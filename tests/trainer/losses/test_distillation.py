"""Distillation against loops written from SimCLR v2's equations in float64."""

import math

import pytest
import torch

from trainer.losses.distillation import distillation_loss, labelled_loss


def scores(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def probabilities(row: torch.Tensor, temperature: float) -> torch.Tensor:
    e = ((row - row.max()) / temperature).exp()
    return e / e.sum()


@pytest.mark.parametrize("temperature", [0.1, 1.0, 30.0])
def test_equals_the_equation(temperature: float) -> None:
    """Value and gradient equal the sum over classes of -P_T log P_S, mean over rows."""
    student, teacher = scores(5, 7).requires_grad_(), scores(5, 7, seed=1)
    ours = distillation_loss(student, teacher, temperature)
    terms = [
        -(probabilities(t, temperature) * probabilities(s, temperature).log()).sum()
        for s, t in zip(student, teacher, strict=True)
    ]
    loops = torch.stack(terms).mean()
    torch.testing.assert_close(ours, loops, rtol=1e-11, atol=1e-11)
    (mine,), (theirs,) = torch.autograd.grad(ours, student), torch.autograd.grad(loops, student)
    torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-11)


def test_start_and_least_values() -> None:
    """ln K for a student that knows nothing; the teacher's entropy where both agree."""
    teacher = 3 * scores(4, 9)
    nothing = distillation_loss(torch.zeros(4, 9), teacher, 0.5)
    assert nothing.item() == pytest.approx(math.log(9), rel=1e-6)
    student = teacher.clone().requires_grad_()
    p = (teacher / 0.5).softmax(1)
    least = distillation_loss(student, teacher, 0.5)
    torch.testing.assert_close(least, torch.special.entr(p).sum(1).mean())
    (grad,) = torch.autograd.grad(least, student)
    assert grad.abs().max() < 1e-12
    assert distillation_loss(teacher + 0.1 * scores(4, 9, seed=2), teacher, 0.5) > least


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1e-3, 100.0])
def test_half_scores_and_temperature_extremes(dtype: torch.dtype, temperature: float) -> None:
    """Half-precision scores give the float32 loss, finite where a quotient would overflow."""
    student, teacher = (100 * scores(4, 9, seed=s) for s in (0, 1))
    student, teacher = student.to(dtype), teacher.to(dtype)
    loss = distillation_loss(student, teacher, temperature)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert torch.equal(loss, distillation_loss(student.float(), teacher.float(), temperature))


def test_only_the_student_gets_a_gradient_when_the_teacher_has_none() -> None:
    """Rows of zeros and duplicates of rows cost what they cost alone."""
    student, teacher = scores(3, 5), scores(3, 5, seed=1)
    student[0] = 0
    student[2], teacher[2] = student[1], teacher[1]
    one, two, three = (distillation_loss(student[i : i + 1], teacher[i : i + 1]) for i in range(3))
    assert two == three
    assert one.item() == pytest.approx(math.log(5))
    torch.testing.assert_close(distillation_loss(student, teacher), (one + two + three) / 3)


def test_labelled_rows_count_and_others_do_not() -> None:
    """Sum of -log P(label) of labelled rows over the number of all rows; none of them: 0."""
    student, labels = scores(5, 4).requires_grad_(), torch.tensor([2, -1, 0, -7, 3])
    expected = torch.stack([-probabilities(student[i], 1)[labels[i]].log() for i in (0, 2, 4)])
    loss = labelled_loss(student, labels)
    torch.testing.assert_close(loss, expected.sum() / 5)
    (grad,) = torch.autograd.grad(loss, student)
    assert grad[[1, 3]].abs().max() == 0
    assert grad[[0, 2, 4]].abs().max() > 0
    assert labelled_loss(student, torch.full((5,), -1)) == 0
