"""VICReg's three terms against loops written from the code's equations in float64."""

import pytest
import torch

from trainer.losses.vicreg import covariance, invariance, variance


def rows(*shape: int, seed: int = 0, scale: float = 0.8) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scale * x + torch.arange(shape[-1])


def naive_invariance(z: torch.Tensor, num_targets: int) -> torch.Tensor:
    terms = [
        (z[v, b, d] - z[g, b, d]) ** 2
        for v in range(len(z))
        for g in range(num_targets)
        if v != g
        for b in range(z.shape[1])
        for d in range(z.shape[2])
    ]
    return torch.stack(terms).mean()


def naive_variance(z: torch.Tensor) -> torch.Tensor:
    terms = []
    for v in range(len(z)):
        for d in range(z.shape[2]):
            column = z[v, :, d]
            spread = (column - column.mean()).pow(2).sum() / (len(column) - 1)
            terms.append(torch.clamp(1 - (spread + 1e-4).sqrt(), min=0))
    return torch.stack(terms).mean()


def naive_covariance(z: torch.Tensor) -> torch.Tensor:
    total = z.new_zeros(())
    _, batch_size, dim = z.shape
    for view in z:
        centred = view - view.mean(0)
        for i in range(dim):
            for j in range(dim):
                if i != j:
                    c = (centred[:, i] * centred[:, j]).sum() / (batch_size - 1)
                    total = total + c**2 / dim
    return 2 * total / len(z)


@pytest.mark.parametrize(("num_views", "num_targets"), [(2, 2), (8, 2), (4, 4), (5, 3), (3, 1)])
def test_terms_equal_the_equations(num_views: int, num_targets: int) -> None:
    """Values and gradients of all three terms equal the loops."""
    z = rows(num_views, 7, 5).requires_grad_()
    terms = [
        (invariance(z, num_targets), naive_invariance(z, num_targets)),
        (variance(z), naive_variance(z)),
        (covariance(z), naive_covariance(z)),
    ]
    for ours, loops in terms:
        torch.testing.assert_close(ours, loops, rtol=1e-12, atol=1e-12)
        (mine,), (theirs,) = torch.autograd.grad(ours, z), torch.autograd.grad(loops, z)
        assert theirs.abs().max() > 0
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_two_views_are_the_codes() -> None:
    """Mean squared error, half the two hinges' sum, and the sum of two covariance terms."""
    x, y = rows(2, 9, 4)
    z = torch.stack([x, y])
    torch.testing.assert_close(invariance(z, 2), torch.nn.functional.mse_loss(x, y))
    hinges = [(1 - (view.var(0) + 1e-4).sqrt()).relu().mean() for view in (x, y)]
    torch.testing.assert_close(variance(z), hinges[0] / 2 + hinges[1] / 2)
    total = 0
    for view in (x, y):
        squares = torch.cov(view.T).square()
        total = total + (squares.sum() - squares.diagonal().sum()) / 4
    torch.testing.assert_close(covariance(z), total)


def test_variance_is_zero_only_when_every_feature_varies() -> None:
    """All standard deviations at 1 cost nothing and pull nowhere; one below it does both."""
    z = rows(2, 16, 3)
    z = (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)
    enough = (1.001 * z).requires_grad_()
    assert variance(enough).item() == 0
    assert torch.autograd.grad(variance(enough), enough)[0].abs().max() == 0
    one_less = z * torch.tensor([1.001, 1.001, 0.9])
    assert variance(one_less).item() == pytest.approx(0.1 / 3, rel=1e-3)


@pytest.mark.parametrize("spread", [0.1, 0.02])
def test_the_root_pulls_a_collapsing_feature_apart(spread: float) -> None:
    """Near collapse the gradient keeps the size 1/sqrt(B-1); a hinge on the variance would fade."""
    z = rows(1, 17, 1)
    z = (spread * (z - z.mean(1)) / z.std(1)).requires_grad_()
    (grad,) = torch.autograd.grad(variance(z), z)
    assert grad.norm().item() == pytest.approx(spread / (spread**2 + 1e-4) ** 0.5 / 4, rel=1e-6)
    (faded,) = torch.autograd.grad((1 - z.var(1)).relu().mean(), z)
    assert grad.norm() > 4 * faded.norm()
    # Against the gradient: away from the mean.
    assert ((z - z.mean(1)) * grad).sum() < 0


def test_collapse_and_repetition_have_known_costs() -> None:
    """One point: variance term 1 - 0.01, the others 0; D equal features, variance 1: 2 (D - 1)."""
    point = torch.full((2, 5, 3), 7.0, requires_grad=True)
    assert variance(point).item() == pytest.approx(0.99)
    assert invariance(point, 2).item() == covariance(point).item() == 0
    for term in (variance(point), covariance(point), invariance(point, 2)):
        assert torch.autograd.grad(term, point)[0].isfinite().all()
    column = rows(1, 12, 1)
    column = column / column.std(1)
    assert covariance(column.expand(2, 12, 4)).item() == pytest.approx(2 * 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_inputs_are_computed_in_float32(dtype: torch.dtype) -> None:
    """Half inputs whose squares overflow, also under autocast, equal the float32 terms."""
    z = rows(2, 32, 17, scale=300).to(dtype)
    for term in (lambda x: invariance(x, 2), variance, covariance):
        expected = term(z.float())
        assert expected.dtype == torch.float32
        assert expected.isfinite()
        assert torch.equal(term(z), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(term(z), expected)
        torch.testing.assert_close(expected.double(), term(z.double()), rtol=1e-5, atol=1e-6)
