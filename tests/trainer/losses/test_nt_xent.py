"""NT-Xent against loops written from the paper's equation in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from trainer.losses.nt_xent import nt_xent_loss


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_pair(a: torch.Tensor, c: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean over the rows of `a` of equation 1: positives in `c`, 2N - 1 candidates."""
    both = [row / row.norm() for row in (*a, *c)]
    terms = []
    for i in range(len(a)):
        scores = [both[i] @ other / temperature for k, other in enumerate(both) if k != i]
        positive = both[i] @ both[len(a) + i] / temperature
        # Shifted by the largest score, or exp(1 / 0.01) would overflow even in float64 sums.
        peak = max(score.item() for score in scores)
        total = torch.stack([(score - peak).exp() for score in scores]).sum()
        terms.append(peak + total.log() - positive)
    return torch.stack(terms).mean()


def naive(z: torch.Tensor, num_targets: int, temperature: float) -> torch.Tensor:
    pairs = [(v, g) for v in range(len(z)) for g in range(num_targets) if v != g]
    return torch.stack([naive_pair(z[v], z[g], temperature) for v, g in pairs]).mean()


@pytest.mark.parametrize("temperature", [0.01, 0.1, 10.0])
@pytest.mark.parametrize(
    ("num_views", "num_targets", "num_images"), [(2, 2, 5), (5, 2, 3), (4, 4, 3), (3, 1, 2)]
)
def test_equals_the_equation(
    num_views: int, num_targets: int, num_images: int, temperature: float
) -> None:
    """Value and gradient equal the loops over pairs (v, g), g != v, at odd sizes."""
    z = rows(num_views, num_images, 7).requires_grad_()
    ours, loops = nt_xent_loss(z, num_targets, temperature), naive(z, num_targets, temperature)
    torch.testing.assert_close(ours, loops, rtol=1e-11, atol=1e-11)
    (mine,), (theirs,) = torch.autograd.grad(ours, z), torch.autograd.grad(loops, z)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


def test_two_views_are_half_of_the_code() -> None:
    """objective.py: logits [ab, aa - 1e9 on the diagonal], the means of two views added: twice."""
    a, b = (F.normalize(x, dim=1) for x in rows(2, 6, 9))
    labels, mask = torch.arange(6), 1e9 * torch.eye(6)
    logits_a = torch.cat([a @ b.T, a @ a.T - mask], dim=1) / 0.5
    logits_b = torch.cat([b @ a.T, b @ b.T - mask], dim=1) / 0.5
    code = F.cross_entropy(logits_a, labels) + F.cross_entropy(logits_b, labels)
    torch.testing.assert_close(2 * nt_xent_loss(rows(2, 6, 9), 2, 0.5), code)


def test_views_may_be_swapped() -> None:
    """Two views have no order."""
    z = rows(2, 6, 9)
    torch.testing.assert_close(nt_xent_loss(z, 2), nt_xent_loss(z.flip(0), 2))


@pytest.mark.parametrize("num_images", [2, 4096])
def test_starts_at_the_logarithm_of_candidates(num_images: int) -> None:
    """Equal rows cost ln(2N - 1): 9.01 for the paper's batch of 4,096."""
    loss = nt_xent_loss(torch.ones(2, num_images, 3), 2, 0.1)
    assert loss.item() == pytest.approx(math.log(2 * num_images - 1), rel=1e-5)


def test_one_image_alone_costs_nothing() -> None:
    """Its other view is the only candidate: loss 0, no gradient, no NaN."""
    z = rows(2, 1, 4).requires_grad_()
    loss = nt_xent_loss(z, 2, 0.1)
    (grad,) = torch.autograd.grad(loss, z)
    assert loss.item() == 0
    assert grad.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_inputs_are_computed_in_float32(dtype: torch.dtype) -> None:
    """Half inputs whose squares overflow, also under autocast: the float32 loss, to the bit."""
    z = (300 * rows(3, 8, 64)).to(dtype)
    expected = nt_xent_loss(z.float(), 2)
    assert expected.dtype == torch.float32
    assert torch.equal(nt_xent_loss(z, 2), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nt_xent_loss(z.float(), 2), expected)
    torch.testing.assert_close(expected.double(), naive(z.double(), 2, 0.1), rtol=1e-5, atol=1e-5)


def test_zero_and_duplicate_rows() -> None:
    """A zero row has cosine 0 and no gradient; an image that comes twice is its own negative."""
    z = rows(2, 5, 4).float()
    z[0, 1] = 0
    z[:, 3] = z[:, 2]
    z.requires_grad_()
    loss = nt_xent_loss(z, 2, 0.05)
    (grad,) = torch.autograd.grad(loss, z)
    assert loss.isfinite()
    assert grad.isfinite().all()
    assert grad[0, 1].abs().max() == 0
    assert grad[1, 1].abs().max() > 0
    # Two equal images cannot be told apart: each of their rows costs at least ln 2.
    twins = nt_xent_loss(rows(2, 1, 4).expand(2, 2, 4), 2, 0.01)
    assert twins.item() >= math.log(2)


def test_gradient_is_orthogonal_to_the_row() -> None:
    """Scaling a row changes nothing: its gradient is orthogonal to it."""
    z = rows(4, 5, 6).requires_grad_()
    (grad,) = torch.autograd.grad(nt_xent_loss(z, 2), z)
    assert (grad * z).sum(-1).abs().max() < 1e-14
    assert grad.abs().max() > 1e-3
