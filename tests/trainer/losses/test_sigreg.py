"""SIGReg and prediction against loops written from the equations in float64."""

import cmath
import math

import pytest
import torch

from trainer.losses.sigreg import constant_sigreg, directions_of_step, prediction, sigreg

POINTS = [3 * k / 16 for k in range(-16, 17)]  # both halves, where the code doubles one


def rows(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def naive_statistic(xs: list[float]) -> float:
    """The integral over [-3, 3] by the trapezium rule, in complex numbers."""
    total = 0.0
    for t in POINTS:
        normal = math.exp(-t * t / 2)
        seen = sum(cmath.exp(1j * t * x) for x in xs) / len(xs)
        total += (0.5 if abs(t) == 3 else 1) * abs(seen - normal) ** 2 * normal * 3 / 16
    return len(xs) * total


@pytest.mark.parametrize("num_views", [2, 8])
def test_sigreg_is_the_equation(num_views: int) -> None:
    """The mean over views and directions of N times the integral; its gradient is autograd's."""
    z, directions = rows(num_views, 7, 5), directions_of_step(3, 5, 6).double()
    x = z @ directions
    naive = [naive_statistic(x[v, :, m].tolist()) for v in range(num_views) for m in range(6)]
    assert sigreg(z, directions).item() == pytest.approx(sum(naive) / len(naive), rel=1e-12)
    small = z[:2, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sigreg(z, directions), small)


@pytest.mark.parametrize(("num_views", "num_targets"), [(2, 2), (8, 2), (4, 4), (4, 1)])
def test_prediction_is_the_equation(num_views: int, num_targets: int) -> None:
    """Mean squared distance to the mean of the global views, over views, images and features."""
    z = rows(num_views, 3, 4)
    total = 0.0
    for v in range(num_views):
        for b in range(3):
            for d in range(4):
                center = sum(z[g, b, d].item() for g in range(num_targets)) / num_targets
                total += (z[v, b, d].item() - center) ** 2
    assert prediction(z, num_targets).item() == pytest.approx(total / z.numel(), rel=1e-12)


def test_no_constant_has_less_than_the_origin() -> None:
    """Equal embeddings cost N times a constant there, and more anywhere else."""
    directions = directions_of_step(0, 5, 64).double()
    zeros = torch.zeros(2, 9, 5, dtype=torch.float64)
    least = sigreg(zeros, directions).item()
    assert least == pytest.approx(constant_sigreg(9), rel=1e-12)
    for length in (0.1, 0.5, 1.0, 3.0):
        assert sigreg(zeros + length, directions).item() > least
    assert sigreg(rows(2, 512, 5), directions).item() < constant_sigreg(512) / 50


def test_directions_are_the_steps() -> None:
    """Of length 1, the same for a step whoever asks, and others for the next."""
    first = directions_of_step(4, 16, 8)
    torch.testing.assert_close(first.norm(dim=0), torch.ones(8))
    assert torch.equal(first, directions_of_step(4, 16, 8))
    assert not torch.allclose(first, directions_of_step(5, 16, 8))


def test_half_inputs_are_computed_in_float32() -> None:
    """Under autocast too."""
    z, directions = rows(2, 32, 16).to(torch.bfloat16), directions_of_step(0, 16, 8)
    expected = sigreg(z.float(), directions)
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sigreg(z, directions), expected)
        assert torch.equal(prediction(z, 2), prediction(z.float(), 2))
