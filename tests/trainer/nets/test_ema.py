"""The teacher: a copy that follows, takes no gradient, and keeps its own buffers."""

import pytest
import torch
from torch import nn

from trainer.nets.ema import cosine_momentum, ema_update, frozen_copy


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_copy_is_equal_separate_and_frozen() -> None:
    """Same values, no shared memory, no gradient; the student still trains."""
    student = network(0)
    teacher = frozen_copy(student)
    for p, q in zip(student.parameters(), teacher.parameters(), strict=True):
        assert torch.equal(p, q)
        assert p.data_ptr() != q.data_ptr()
        assert p.requires_grad
        assert not q.requires_grad


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.996, 1.0])
def test_update_is_the_closed_form(momentum: float) -> None:
    """tau old + (1 - tau) new for parameters, exactly at 0 and 1; buffers are left alone."""
    teacher, student = network(0), network(1)
    student(torch.randn(8, 3))  # running statistics differ from the teacher's
    old = [p.detach().clone() for p in teacher.parameters()]
    buffers = [b.clone() for b in teacher.buffers()]
    ema_update(teacher, student, momentum)
    exact = momentum in (0.0, 1.0)
    for p, before, new in zip(teacher.parameters(), old, student.parameters(), strict=True):
        expected = momentum * before + (1 - momentum) * new
        torch.testing.assert_close(p, expected, rtol=0 if exact else 1e-6, atol=1e-7)
    assert all(torch.equal(a, b) for a, b in zip(teacher.buffers(), buffers, strict=True))


def test_cosine_momentum() -> None:
    """From the base over its middle to exactly 1, never falling."""
    assert cosine_momentum(0.996, 0) == pytest.approx(0.996)
    assert cosine_momentum(0.996, 0.5) == pytest.approx(0.998)
    assert cosine_momentum(0.996, 1) == 1.0
    values = [cosine_momentum(0.9, i / 50) for i in range(51)]
    assert values == sorted(values)
