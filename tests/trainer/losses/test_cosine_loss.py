"""The cosine losses against loops written from the papers' equations in float64."""

import math

import pytest
import torch

from trainer.losses.cosine import byol_loss, pair_cosine, simsiam_loss, unit_rows


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_pair_cosine(p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    terms = [
        (p[v, b] / p[v, b].norm()) @ (z[g, b] / z[g, b].norm())
        for v in range(len(p))
        for g in range(len(z))
        if v != g
        for b in range(p.shape[1])
    ]
    return torch.stack(terms).mean()


@pytest.mark.parametrize(("num_views", "num_targets"), [(2, 2), (8, 2), (4, 4), (5, 3), (3, 1)])
def test_every_view_meets_every_other_target(num_views: int, num_targets: int) -> None:
    """Value and both gradients equal the mean over ordered pairs g != v."""
    p = rows(num_views, 5, 7).requires_grad_()
    z = rows(num_targets, 5, 7, seed=1).requires_grad_()
    ours, naive = pair_cosine(p, z), naive_pair_cosine(p, z)
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(ours, (p, z)), torch.autograd.grad(naive, (p, z)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_two_views_are_the_papers() -> None:
    """With two views: BYOL sums its two directions, SimSiam averages them."""
    p, z = rows(2, 6, 9), rows(2, 6, 9, seed=1)

    def regression(a: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        difference = a / a.norm(dim=1, keepdim=True) - c / c.norm(dim=1, keepdim=True)
        return difference.square().sum(1).mean()

    paper = regression(p[0], z[1]) + regression(p[1], z[0])
    cosine = torch.nn.functional.cosine_similarity
    simsiam = -(cosine(p[0], z[1]).mean() + cosine(p[1], z[0]).mean()) / 2
    torch.testing.assert_close(byol_loss(p, z), paper)
    torch.testing.assert_close(simsiam_loss(p, z), simsiam)
    torch.testing.assert_close(byol_loss(p, z), 4 + 4 * simsiam_loss(p, z))


def test_ranges() -> None:
    """Equal views give 0 and -1, opposite ones 8 and 1, orthogonal ones 4 and 0."""
    p = torch.eye(4)[:2].expand(2, 2, 4)
    for z, byol, simsiam in ((p, 0, -1), (-p, 8, 1), (p.roll(2, -1), 4, 0)):
        assert byol_loss(p, z).item() == pytest.approx(byol)
        assert simsiam_loss(p, z).item() == pytest.approx(simsiam)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_inputs_are_computed_in_float32(dtype: torch.dtype) -> None:
    """Half inputs whose squares overflow give the float32 result of the same numbers."""
    p, z = (300 * rows(4, 8, 64)).to(dtype), rows(2, 8, 64, seed=1).to(dtype)
    loss = byol_loss(p, z)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, byol_loss(p.float(), z.float()), rtol=0, atol=0)
    reference = 4 - 4 * naive_pair_cosine(p.double(), z.double())
    torch.testing.assert_close(loss.double(), reference, rtol=1e-6, atol=1e-6)


def test_zero_rows_are_harmless() -> None:
    """A zero row counts as cosine 0 and gets a zero gradient; others are untouched."""
    p = rows(2, 3, 4).float()
    p[0, 1] = 0
    p.requires_grad_()
    z = rows(2, 3, 4, seed=1).float()
    loss = byol_loss(p, z)
    (grad,) = torch.autograd.grad(loss, p)
    assert math.isfinite(loss.item())
    assert grad.isfinite().all()
    assert grad[0, 1].abs().max() == 0
    assert grad[0, 0].abs().max() > 0


def test_gradient_is_orthogonal_to_the_prediction() -> None:
    """Scaling a prediction changes nothing, hence <p, dL/dp> = 0 in every row."""
    p = rows(4, 3, 16).requires_grad_()
    (grad,) = torch.autograd.grad(byol_loss(p, rows(2, 3, 16, seed=1)), p)
    assert (p * grad).sum(-1).abs().max() < 1e-15


def test_unit_rows() -> None:
    """Rows get length 1 in float32, in any shape; float64 stays float64."""
    x = rows(2, 3, 5)
    torch.testing.assert_close(unit_rows(x).norm(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    assert unit_rows(x.half()).dtype == torch.float32
