"""The terms of MSBReg: their equations, and that each does what the paper has it for."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from term_ranks import check_two_ranks
from term_views import POLICY, make_views
from tiny_net import Tiny
from torch import nn

from trainer.methods.byol import BYOL
from trainer.methods.byol import Settings as BYOLSettings
from trainer.methods.protocol import Progress
from trainer.methods.simsiam import Settings as SimSiamSettings
from trainer.methods.simsiam import SimSiam
from trainer.terms.add_terms import add_terms
from trainer.terms.brownian import Brownian
from trainer.terms.centroid import Centroid
from trainer.terms.singular import Singular
from trainer.terms.term import Seen, Term
from trainer.terms.term_table import read_terms

START = Progress(0, 100, 10)


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def see(parts: dict[str, torch.Tensor], *, epoch: int = 0) -> Seen:
    """A step of 2 + 1 views, the images of which are in that epoch."""
    views = make_views()
    views.plan.epochs[:] = epoch
    return Seen(views, START, (0, 1, 2), 2, parts)


def unit(row: torch.Tensor) -> torch.Tensor:
    return row / row.norm()


@pytest.mark.parametrize("has_momentum", [True, False])
def test_centroid_is_its_equation(has_momentum: bool) -> None:
    """A loop over images; targets are the momentum network's, or else the own global ones."""
    p, z, t = rows(3, 8, 5), rows(3, 8, 5, seed=1), rows(2, 8, 5, seed=2)
    parts = {"predictions": p, "projections": z}
    targets = z[:2]
    if has_momentum:
        parts["momentum_projections"] = targets = t
    apart = [
        sum(unit(p[v, b]) for v in range(3)) / 3 - sum(unit(targets[g, b]) for g in range(2)) / 2
        for b in range(8)
    ]
    expected = torch.stack([a @ a for a in apart]).mean()
    torch.testing.assert_close(Centroid()(see(parts)), expected, rtol=1e-12, atol=0)


def test_centroid_gives_targets_no_gradient() -> None:
    """Predictions move to them, not they to predictions."""
    p, z = rows(3, 8, 5).requires_grad_(), rows(3, 8, 5, seed=1).requires_grad_()
    Centroid()(see({"predictions": p, "projections": z})).backward()
    assert p.grad is not None
    assert p.grad.any()
    assert z.grad is None


def test_centroid_joins_means_and_leaves_views_apart() -> None:
    """Rows that follow it alone come to have their targets' mean, and still differ."""
    p, t = rows(3, 8, 5).requires_grad_(), rows(2, 8, 5, seed=2)
    for _ in range(400):
        loss = Centroid()(see({"predictions": p, "projections": t, "momentum_projections": t}))
        (grad,) = torch.autograd.grad(loss, p)
        p = (p - 20 * grad).detach().requires_grad_()
    views = p / p.norm(dim=-1, keepdim=True)
    targets = (t / t.norm(dim=-1, keepdim=True)).mean(0)
    torch.testing.assert_close(views.mean(0), targets, rtol=0, atol=1e-4)
    assert (views - views.mean(0)).norm(dim=-1).mean() > 0.1


def test_singular_is_its_equation() -> None:
    """By torch's singular values of each view's unit rows."""
    z = rows(3, 8, 5)
    sums = [torch.linalg.svdvals(torch.stack([unit(r) for r in view])).sum() for view in z]
    expected = 1 - sum(sums) / 3 / math.sqrt(8 * 5)
    torch.testing.assert_close(Singular()(see({"projections": z})), expected, rtol=1e-9, atol=0)


def test_singular_is_0_where_no_direction_is_longer() -> None:
    """Eight rows that are orthogonal; and near 1 where all rows are one."""
    flat, one = torch.eye(8).expand(3, 8, 8), torch.ones(3, 8, 8)
    assert Singular()(see({"projections": flat})).abs() < 1e-6
    torch.testing.assert_close(Singular()(see({"projections": one})), torch.tensor(1 - 1 / 8**0.5))


def test_singular_flattens_a_spectrum() -> None:
    """Rows that follow it alone come from a spectrum of one tall value to a flat one."""
    z = (rows(3, 32, 5) + 4).requires_grad_()
    before = torch.linalg.svdvals(z.detach() / z.detach().norm(dim=-1, keepdim=True))
    for _ in range(300):
        (grad,) = torch.autograd.grad(Singular()(see({"projections": z})), z)
        z = (z - 300 * grad).detach().requires_grad_()
    after = torch.linalg.svdvals(z.detach() / z.detach().norm(dim=-1, keepdim=True))
    assert (before[:, 0] / before[:, -1]).min() > 5
    assert (after[:, 0] / after[:, -1]).max() < 1.05


def singular_of(z: torch.Tensor) -> torch.Tensor:
    return Singular()(see({"projections": z}))


@pytest.mark.slow
def test_singular_is_of_the_images_of_all_ranks(tmp_path: Path) -> None:
    """Loss and gradient of two ranks are one process's."""
    check_two_ranks(singular_of, rows(3, 8, 5), tmp_path)


def test_views_of_an_image_share_their_random_step() -> None:
    """Each is pushed the same way; images are pushed different ways, and epochs anew."""

    def steps(epoch: int) -> torch.Tensor:
        z = torch.zeros(3, 8, 5, dtype=torch.float64)
        z[..., 0] = 1
        z.requires_grad_()
        Brownian()(see({"projections": z}, epoch=epoch)).backward()
        assert z.grad is not None
        return z.grad

    first, again, later = steps(0), steps(0), steps(1)
    assert torch.equal(first, again)
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], first[2])
    assert torch.pdist(first[0]).min() > 1e-3
    assert not torch.isclose(first, later).all()


def test_embeddings_diffuse() -> None:
    """Four times the steps bring embeddings four times as far, squared: they wander, not drift."""
    epochs, dim, size = 200, 16, 64
    views = make_views(batch_size=size)
    start = torch.zeros(3, size, dim, dtype=torch.float64)
    start[..., 0] = 1
    z, squares = start, []
    for epoch in range(epochs):
        z = z.requires_grad_()
        views.plan.epochs[:] = epoch
        seen = Seen(views, START, (0, 1, 2), 2, {"projections": z})
        (grad,) = torch.autograd.grad(Brownian()(seen), z)
        z = (z - 0.02 * 3 * size * grad).detach()
        squares.append((z - start)[0].square().sum(-1).mean().item())
    # A row loses the part of its step along itself: 15 of 16 of 0.02^2 a step.
    expected = 0.02**2 * 15 / 16
    assert squares[epochs // 4 - 1] / (epochs / 4) == pytest.approx(expected, rel=0.15)
    assert squares[-1] / epochs == pytest.approx(expected, rel=0.15)


def train(method: Any, terms: list[dict[str, Any]], steps: int = 60) -> dict[str, Any]:
    """After SGD on the same images: the last step's metrics."""
    torch.manual_seed(0)
    add_terms(method, read_terms(terms), POLICY)
    optimizer = torch.optim.SGD(
        [p for p in method.parameters() if p.requires_grad], lr=0.05, momentum=0.9
    )
    last: dict[str, Any] = {}
    for step in range(steps):
        optimizer.zero_grad()
        result = method(make_views(batch_size=32, seed=step), Progress(step, steps, 10))
        result.loss.backward()
        optimizer.step()
        method.after_step(Progress(step, steps, 10))
        last = result.metrics
    return last


def byol() -> BYOL:
    torch.manual_seed(0)
    return BYOL(Tiny(), BYOLSettings(hidden_dim=32, out_dim=16, momentum=0.9))


def test_byols_centroids_come_nearer_with_centroid() -> None:
    """Less than without, of the same run; a weight of 0 measures what the run alone does."""
    alone = train(byol(), [{"name": "centroid", "weight": 0.0}])["term_centroid"]
    helped = train(byol(), [{"name": "centroid", "weight": 2.0}])["term_centroid"]
    assert helped < 0.9 * alone, (helped, alone)


def test_singular_keeps_what_collapses_by_itself() -> None:
    """SimSiam without its stop-gradient and its batch norms keeps few directions; with it all."""

    def flatness(weight: float) -> float:
        torch.manual_seed(0)
        settings = SimSiamSettings(
            out_dim=16, predictor_dim=8, projector_layers=2, stop_gradient=False
        )
        method = SimSiam(Tiny(), settings)
        method.projector = nn.Sequential(nn.Linear(16, 16))
        return train(method, [{"name": "singular", "weight": weight}])["term_singular"].item()

    alone, helped = flatness(0.0), flatness(5.0)
    assert helped < 0.1 < 0.5 < alone, (helped, alone)


@pytest.mark.parametrize("term", [Centroid, Singular, Brownian])
def test_half_precision_is_computed_in_float32(term: type[Term]) -> None:
    """bfloat16 parts, as under autocast, give the loss of their float32 values."""
    parts = {"predictions": rows(3, 8, 5).bfloat16(), "projections": rows(3, 8, 5, seed=1)}
    half = {key: part.bfloat16() for key, part in parts.items()}
    whole = {key: part.float() for key, part in half.items()}
    found = term()(see(half))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, term()(see(whole)), rtol=1e-6, atol=1e-7)
