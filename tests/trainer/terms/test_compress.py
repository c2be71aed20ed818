"""Compress and its predictor's form against the official code's equations, a row at a time."""

import pytest
import torch
from term_views import make_views

from trainer.losses.asked_nt_xent import asked_nt_xent_loss
from trainer.losses.cosine import byol_loss
from trainer.methods.protocol import Progress
from trainer.nets.multicrop import forward_views
from trainer.terms.compress import Compress
from trainer.terms.compress import Settings as CompressSettings
from trainer.terms.compress_predictor import CompressPredictor
from trainer.terms.compress_predictor import Settings as PredictorSettings
from trainer.terms.term import Seen

START = Progress(0, 100, 10)
KAPPA = {"kappa_e": 50.0, "kappa_b": 4.0}


def rows(num_views: int, seed: int, dim: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(num_views, 5, dim, generator=generator, dtype=torch.float64)
    return drawn.requires_grad_()


def seen(num_views: int = 3, **parts: torch.Tensor) -> Seen:
    return Seen(make_views(batch_size=5), START, tuple(range(num_views)), 2, parts, seed=7)


def cos(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.cosine_similarity(a, b, 0)


def test_two_views_have_the_official_loss() -> None:
    """`add_contrastive_ceb_loss` with beta 1: half of it, and its gradient, but for constants."""
    z = rows(2, 0)
    term, what = Compress(CompressSettings(**KAPPA)), seen(2, projections=z)
    q = term.change(z, what)
    ours = asked_nt_xent_loss(q, z, 2, 1 / 4.0) + term(what)
    theirs = []
    for x, y in ((0, 1), (1, 0)):
        for b in range(5):
            e = 50.0 * (q[x, b] * z[x, b] / z[x, b].norm()).sum()
            residual = e - 4.0 * cos(q[x, b], z[y, b])
            others = [4.0 * cos(q[x, b], z[y, c]) for c in range(5)]
            others += [4.0 * cos(q[x, b], z[x, c]) for c in range(5) if c != b]
            theirs.append(residual + torch.stack(others).logsumexp(0) - others[b])
    loops = torch.stack(theirs).mean()
    constant = 50.0 * (q * z / z.norm(dim=-1, keepdim=True)).sum(-1).mean()
    torch.testing.assert_close(ours + constant, loops, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(ours, z, retain_graph=True),
        torch.autograd.grad(loops, z),
        rtol=1e-9,
        atol=1e-12,
    )


def test_the_loss_grows_over_its_warmup() -> None:
    """As the code's linear_warmup: 0 at the start, half of it after half of the epochs."""
    z, told = rows(2, 0).detach(), []
    for warmup_epochs, step in ((0.0, 0), (4.0, 0), (4.0, 20), (4.0, 40), (4.0, 90)):
        term = Compress(CompressSettings(**KAPPA, warmup_epochs=warmup_epochs))
        what = Seen(
            make_views(batch_size=5), Progress(step, 100, 10.0), (0, 1), 2, {"projections": z}
        )
        term.change(z, what)
        told.append(float(term(what)))
    assert told == pytest.approx([told[0] * share for share in (1, 0, 0.5, 1, 1)])


def test_local_views_ask_and_are_not_asked_for() -> None:
    """The mean over pairs of any view and another global one."""
    z = rows(3, 0)
    term, what = Compress(CompressSettings(**KAPPA)), seen(projections=z)
    q = term.change(z, what)
    pairs = [(0, 1), (1, 0), (2, 0), (2, 1)]
    loops = [-4.0 * cos(q[v, b], z[g, b]) for v, g in pairs for b in range(5)]
    torch.testing.assert_close(term(what), torch.stack(loops).mean(), rtol=1e-12, atol=1e-13)


def test_the_predictors_form_has_the_official_loss() -> None:
    """`add_byol_ceb_loss`: z against m of the same view's target, the prediction the other's."""
    torch.manual_seed(0)
    widths = {"predictions": 6, "momentum_projections": 4}
    term = CompressPredictor(PredictorSettings(**KAPPA, hidden_dim=7), widths).double()
    mu, t = rows(3, 0), rows(2, 1, dim=4).detach()
    what = seen(predictions=mu, momentum_projections=t)
    p = term.change(mu, what)
    z = what.kept["z"]
    torch.testing.assert_close(p, z @ term.last.weight.T)
    ours = 5 * byol_loss(p[:2], t) + 0.5 * term(what)
    said = forward_views(term.target_projector, t / t.norm(dim=-1, keepdim=True), per_view=True)
    loops = torch.zeros((), dtype=torch.float64)
    for x, y in ((0, 1), (1, 0)):
        for b in range(5):
            regression = 2 - 2 * cos(p[x, b], t[y, b])
            e = 50.0 * (z[x, b] * mu[x, b] / mu[x, b].norm()).sum()
            residual = e - 4.0 * cos(z[x, b], said[x, b])
            loops = loops + (5 * regression + 0.5 * residual) / 5
    constant = 0.5 * 2 * 50.0 * (z * mu / mu.norm(dim=-1, keepdim=True)).sum(-1)[:2].mean()
    torch.testing.assert_close(ours + constant, loops, rtol=1e-12, atol=1e-12)
    inputs = [mu, *term.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(ours, inputs, retain_graph=True),
        torch.autograd.grad(loops, inputs),
        rtol=1e-9,
        atol=1e-12,
    )
