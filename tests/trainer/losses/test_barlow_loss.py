"""Barlow Twins' loss against loops written from its equations in float64."""

import pytest
import torch

from trainer.losses.barlow import barlow_loss

LAMBDA = 0.0051


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 2 * x + torch.arange(shape[-1])


def naive_two_views(a: torch.Tensor, b: torch.Tensor, off_diagonal: float) -> torch.Tensor:
    def standardized(x: torch.Tensor) -> torch.Tensor:
        centred = x - x.sum(0) / len(x)
        return centred / (centred.pow(2).sum(0) / len(x) + 1e-5).sqrt()

    a, b = standardized(a), standardized(b)
    total = a.new_zeros(())
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            c = (a[:, i] * b[:, j]).sum() / len(a)
            total = total + ((c - 1) ** 2 if i == j else off_diagonal * c**2)
    return total


def naive(z: torch.Tensor, num_targets: int, off_diagonal: float = LAMBDA) -> torch.Tensor:
    pairs = [(v, g) for v in range(len(z)) for g in range(num_targets) if v != g]
    return torch.stack([naive_two_views(z[v], z[g], off_diagonal) for v, g in pairs]).mean()


@pytest.mark.parametrize(("num_views", "num_targets"), [(2, 2), (8, 2), (4, 4), (5, 3), (3, 1)])
@pytest.mark.parametrize("off_diagonal", [LAMBDA, 0.0, 3.0])
def test_equals_the_equation(num_views: int, num_targets: int, off_diagonal: float) -> None:
    """Value and gradient equal the mean over ordered pairs (v, g), g != v, entry by entry."""
    z = rows(num_views, 7, 5).requires_grad_()
    ours, loops = barlow_loss(z, num_targets, off_diagonal), naive(z, num_targets, off_diagonal)
    torch.testing.assert_close(ours, loops, rtol=1e-12, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(ours, z), torch.autograd.grad(loops, z)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def hadamard() -> torch.Tensor:
    """[8, 8]: orthogonal columns of +-1; all but the first have mean 0."""
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    return torch.kron(torch.kron(two, two), two)


def test_known_values() -> None:
    """No correlation costs D; equal decorrelated views 0; one feature repeated lambda D(D-1)."""
    columns = hadamard()[:, 1:]
    unrelated = torch.stack([columns[:, :3], columns[:, 3:6]])
    assert barlow_loss(unrelated, 2).item() == pytest.approx(3, rel=1e-9)
    same = columns[:, :3].expand(2, 8, 3)
    assert barlow_loss(same, 2).item() == pytest.approx(0, abs=1e-9)
    repeated = columns[:, :1].expand(2, 8, 4)
    assert barlow_loss(repeated, 2).item() == pytest.approx(LAMBDA * 4 * 3, rel=1e-4)
    opposite = torch.stack([columns[:, :3], -columns[:, :3]])
    assert barlow_loss(opposite, 2).item() == pytest.approx(4 * 3, rel=1e-4)


def test_identical_views_correlate_fully_with_themselves() -> None:
    """With lambda 0 and both views alike the diagonal of C is 1, whatever the scale of a column."""
    z = rows(1, 33, 9) * torch.logspace(0, 3, 9, dtype=torch.float64)
    assert barlow_loss(z.expand(2, -1, -1), 2, off_diagonal=0.0).item() < 1e-10


def test_gradient_of_standardised_columns() -> None:
    """Moving or scaling a column changes nothing: its gradient sums to 0, orthogonal to it."""
    z = rows(3, 9, 6).requires_grad_()
    (grad,) = torch.autograd.grad(barlow_loss(z, 2), z)
    assert grad.sum(1).abs().max() < 1e-12
    assert (grad * z).sum(1).abs().max() < 1e-4  # but for the eps
    assert grad.abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_inputs_are_computed_in_float32(dtype: torch.dtype) -> None:
    """Half inputs, also under autocast, give the float32 loss of the same numbers, to the bit."""
    z = (30 * rows(2, 64, 33)).to(dtype)
    expected = barlow_loss(z.float(), 2)
    assert expected.dtype == torch.float32
    assert torch.equal(barlow_loss(z, 2), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(barlow_loss(z, 2), expected)
    torch.testing.assert_close(expected.double(), naive(z.double(), 2), rtol=1e-5, atol=1e-5)


def test_constant_columns_and_repeated_rows_are_harmless() -> None:
    """A dead feature costs 1 and gets a finite gradient; a batch of two equal rows costs D."""
    z = rows(2, 8, 4).float()
    z[:, :, 1] = 5.0
    z.requires_grad_()
    loss = barlow_loss(z, 2, off_diagonal=0.0)
    (grad,) = torch.autograd.grad(loss, z)
    assert grad.isfinite().all()
    alive = barlow_loss(z[:, :, [0, 2, 3]], 2, off_diagonal=0.0)
    torch.testing.assert_close(loss, alive + 1)
    assert barlow_loss(torch.ones(2, 2, 4), 2).item() == 4
