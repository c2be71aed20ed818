"""DCL and DCLW against loops over rows in numpy."""

import math

import numpy as np
import pytest
import torch

from shards.errors import UsageError
from trainer.losses.dcl import dcl_loss
from trainer.losses.nt_xent import nt_xent_loss

IMPLS = pytest.mark.parametrize("impl", ["torch", "fused"])


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights_of(u: np.ndarray, v: int, g: int, sigma: float | None) -> np.ndarray:
    num_images = u.shape[1]
    if sigma is None:
        return np.ones(num_images)
    powers = np.exp([u[v, b] @ u[g, b] / sigma for b in range(num_images)])
    return 2 - num_images * powers / powers.sum()


def naive(
    z: np.ndarray,
    num_targets: int,
    t: float,
    sigma: float | None,
    fixed: np.ndarray | None = None,  # whose weights, where they are not to move with z
) -> float:
    """Equation 6, an image and a pair of views at a time."""
    u = z / np.linalg.norm(z, axis=-1, keepdims=True)
    still = u if fixed is None else fixed / np.linalg.norm(fixed, axis=-1, keepdims=True)
    costs = []
    for v in range(len(u)):
        for g in range(num_targets):
            if v == g:
                continue
            weights = weights_of(still, v, g, sigma)
            for b in range(u.shape[1]):
                others = [u[w, c] for w in (v, g) for c in range(u.shape[1]) if c != b]
                pushes = np.log(sum(np.exp(u[v, b] @ other / t) for other in others))
                costs.append(pushes - weights[b] * (u[v, b] @ u[g, b]) / t)
    return float(np.mean(costs))


@IMPLS
@pytest.mark.parametrize("sigma", [None, 0.5, 0.1])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 10.0])
@pytest.mark.parametrize(
    ("num_views", "num_targets", "num_images"), [(2, 2, 5), (5, 2, 3), (4, 4, 3), (3, 1, 2)]
)
def test_equals_the_equation(
    num_views: int,
    num_targets: int,
    num_images: int,
    temperature: float,
    sigma: float | None,
    impl: str,
) -> None:
    """Value, and the slope along one direction, along which weights stay."""
    z, way, h = rows(num_views, num_images, 7), rows(num_views, num_images, 7, seed=1), 1e-6
    z.requires_grad_()
    loss = dcl_loss(z, num_targets, temperature, sigma, impl)
    x, given = z.detach().numpy(), (num_targets, temperature, sigma)
    assert loss.item() == pytest.approx(naive(x, *given), rel=1e-10, abs=1e-10)
    ahead, behind = (naive(x + s * h * way.numpy(), *given, fixed=x) for s in (1, -1))
    (grad,) = torch.autograd.grad(loss, z)
    slope = (grad * way).sum().item()
    assert slope == pytest.approx((ahead - behind) / (2 * h), rel=1e-5, abs=1e-7)
    assert abs(slope) > 1e-4


@IMPLS
def test_it_is_nt_xent_less_the_positive(impl: str) -> None:
    """An exponential of both: sum of NT-Xent's candidates = DCL's + the positive, row by row."""
    z = rows(2, 2, 5)
    u = z / z.norm(dim=-1, keepdim=True)
    pull = (u[0] * u[1]).sum(-1) / 0.5
    # Of two images each row has two candidates in DCL and three in NT-Xent.
    pushes = [
        (u[v] * u[w].flip(0)).sum(-1).div(0.5).exp() for v in range(2) for w in range(2)
    ]  # [v w]: the other image's view w
    sums = torch.stack([pushes[0] + pushes[1], pushes[2] + pushes[3]])
    assert dcl_loss(z, 2, 0.5, impl=impl).item() == pytest.approx((sums.log() - pull).mean().item())
    whole = (sums + pull.exp()).log() - pull
    assert nt_xent_loss(z, 2, 0.5, impl).item() == pytest.approx(whole.mean().item())


@IMPLS
def test_equal_rows_have_a_known_cost(impl: str) -> None:
    """Ln(2N - 2), with weights of 1 whatever sigma."""
    for sigma in (None, 0.2):
        loss = dcl_loss(torch.ones(2, 33, 3), 2, 0.1, sigma, impl)
        assert loss.item() == pytest.approx(math.log(64), rel=1e-5)


@IMPLS
def test_half_inputs_are_computed_in_float32(impl: str) -> None:
    """Half inputs, also under autocast: the float32 loss, to the bit."""
    z = (300 * rows(3, 8, 64)).bfloat16()
    expected = dcl_loss(z.float(), 2, sigma=0.5, impl="torch")
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        found = dcl_loss(z, 2, sigma=0.5, impl=impl)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@IMPLS
def test_one_image_alone_is_refused(impl: str) -> None:
    """It has no candidate: a line in place of minus infinity."""
    with pytest.raises(UsageError, match="dcl takes at least two images, got 1; raise --batch"):
        dcl_loss(rows(2, 1, 4), 2, impl=impl)
