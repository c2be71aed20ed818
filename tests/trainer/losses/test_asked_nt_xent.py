"""NT-Xent with queries of their own against a loop over its equation."""

import math

import pytest
import torch

from trainer.losses.asked_nt_xent import asked_nt_xent_loss
from trainer.losses.nt_xent import nt_xent_loss


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def equation(q: torch.Tensor, z: torch.Tensor, num_targets: int, t: float) -> torch.Tensor:
    """One query at a time."""
    losses = []
    for v in range(len(q)):
        for g in range(num_targets):
            for b in range(q.shape[1]):
                if g == v:
                    continue
                score = [
                    torch.cosine_similarity(q[v, b], z[w, c], 0) / t
                    for w in (v, g)
                    for c in range(q.shape[1])
                    if (w, c) != (v, b)
                ]
                own = torch.cosine_similarity(q[v, b], z[g, b], 0) / t
                losses.append(torch.stack(score).exp().sum().log() - own)
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("num_views", "num_global"), [(2, 2), (4, 2), (4, 3)])
def test_the_loss_is_the_papers(num_views: int, num_global: int) -> None:
    """Values, and gradients of both sides."""
    q, z = rows(num_views, 5, 6), rows(num_views, 5, 6, seed=1)
    ours, loops = asked_nt_xent_loss(q, z, num_global, 0.3), equation(q, z, num_global, 0.3)
    torch.testing.assert_close(ours, loops, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(
        torch.autograd.grad(ours, (q, z)), torch.autograd.grad(loops, (q, z)), rtol=1e-9, atol=1e-12
    )


def test_rows_that_ask_for_themselves_are_nt_xent() -> None:
    """The same rows, or a copy of them; alike rows cost ln(2N - 1)."""
    z = rows(3, 4, 6)
    expected = nt_xent_loss(z, 2, 0.2)
    assert torch.equal(asked_nt_xent_loss(z, z, 2, 0.2), expected)
    torch.testing.assert_close(asked_nt_xent_loss(z.clone(), z, 2, 0.2), expected)
    alike = torch.ones(2, 4, 3)
    assert asked_nt_xent_loss(alike.clone(), alike, 2).item() == pytest.approx(math.log(7))
