"""Samples of a von Mises-Fisher distribution: moments, gradient, and no special mean."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from augengine.rng import uniforms
from shards.errors import UsageError
from trainer.nets.view_noise import Draw
from trainer.nets.von_mises_fisher import around_first_axis, turn_first_axis, vmf_sample


def draw_rows(num_rows: int, seed: int = 0) -> Draw:
    """A view of each of so many images."""
    ids = np.arange(num_rows)
    numbers = partial(uniforms, seed, ids * 0, ids, np.array([0]))
    return lambda use, count: numbers(use, count)[:, 0]


def bessel_ratio(kappa: float, dim: int) -> float:
    """I_{D/2}(kappa) / I_{D/2 - 1}(kappa), by its continued fraction from the far end."""
    ratio = 0.0
    for step in range(20000, -1, -1):
        ratio = 1 / (2 * (dim / 2 + step) / kappa + ratio)
    return ratio


@pytest.mark.parametrize(
    ("kappa", "dim"), [(16384.0, 256), (1024.0, 256), (256.0, 64), (3.0, 3), (0.01, 5)]
)
def test_the_moments_are_the_distributions(kappa: float, dim: int) -> None:
    """Cosines have the mean and variance that Bessel functions give; no direction is preferred."""
    num_rows = 4000
    rows = around_first_axis(kappa, dim, draw_rows(num_rows))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-12)
    w, across = rows[:, 0], rows[:, 1:]
    mean = bessel_ratio(kappa, dim)
    variance = 1 - mean * (dim - 1) / kappa - mean**2
    assert abs(w.mean() - mean) < 4 * math.sqrt(variance / num_rows)
    assert w.var() == pytest.approx(variance, rel=0.12)
    share = (1 - variance - mean**2) / (dim - 1)  # mean square of each direction across
    np.testing.assert_allclose(across.mean(0), 0, atol=4.5 * math.sqrt(share / num_rows))
    np.testing.assert_allclose((across**2).mean(0), share, rtol=0.12)
    products = across[:, :-1] * across[:, 1:] / share
    np.testing.assert_allclose(products.mean(0), 0, atol=4.5 / math.sqrt(num_rows))


def test_a_sample_lies_around_its_mean_in_float32() -> None:
    """Whatever the mean's length and type: kappa 16,384 in 256 dimensions, cosine 0.992."""
    mean = torch.randn(500, 256, generator=torch.Generator().manual_seed(1))
    mu = torch.nn.functional.normalize(mean)
    for given in (mean, 1000 * mean, mean.bfloat16()):
        z = vmf_sample(given, 16384.0, draw_rows(500))
        assert z.dtype == torch.float32
        assert (z.norm(dim=1) - 1).abs().max() < 1e-6
        assert (z * mu).sum(1).mean() == pytest.approx(bessel_ratio(16384, 256), abs=2e-4)
    cosines = vmf_sample(torch.ones(500, 256), 16384.0, draw_rows(500)).mean(1) * 16
    assert cosines.std() < 0.001


@pytest.mark.parametrize("first", [1.0, -1.0, 1e-6, -1e-6])
@pytest.mark.parametrize("rest", [0.0, 1e-9])
def test_no_mean_is_a_special_case(first: float, rest: float) -> None:
    """The first axis itself, its opposite and their neighbours: right cosine, finite gradient."""
    mean = torch.full((4, 16), rest)
    mean[:, 0] = first
    mean.requires_grad_()
    z = vmf_sample(mean, 100.0, draw_rows(4))
    mu = torch.nn.functional.normalize(mean.detach())
    drawn = torch.from_numpy(around_first_axis(100.0, 16, draw_rows(4))[:, 0]).float()
    torch.testing.assert_close((z * mu).sum(1), drawn, rtol=1e-5, atol=1e-6)
    (grad,) = torch.autograd.grad(z.square().mul(torch.arange(16.0)).sum(), mean)
    assert grad.isfinite().all()


def test_the_gradient_is_the_means_alone() -> None:
    """It is what moving the mean does to a sample; the cosine with the mean moves with nothing."""
    generator = torch.Generator().manual_seed(2)
    mean = torch.randn(6, 8, generator=generator, dtype=torch.float64).requires_grad_()
    rows = torch.from_numpy(around_first_axis(20.0, 8, draw_rows(6)))
    torch.autograd.gradcheck(lambda x: vmf_sample(x, 20.0, draw_rows(6)), (mean,))
    z = vmf_sample(mean, 20.0, draw_rows(6))
    mu = mean / mean.norm(dim=1, keepdim=True)
    assert torch.equal(z, turn_first_axis(mu, rows))
    (grad,) = torch.autograd.grad((z * mu).sum(), mean)
    assert grad.abs().max() < 1e-14


def test_two_dimensions_are_refused() -> None:
    """Wood's test divides by D - 2."""
    with pytest.raises(UsageError, match=r"sampled in 3 dimensions or more, got 2; raise method"):
        vmf_sample(torch.ones(4, 2), 1.0, draw_rows(4))
