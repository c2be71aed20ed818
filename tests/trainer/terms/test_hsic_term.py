"""HSIC as a term: its equation, its batch over ranks, and the collapse that it prevents."""

from pathlib import Path
from typing import Any

import pytest
import torch
from term_ranks import check_two_ranks
from term_views import POLICY, make_views
from tiny_net import Tiny
from torch import nn

from trainer.losses.cosine import unit_rows
from trainer.methods.protocol import Progress
from trainer.methods.simsiam import Settings as SimSiamSettings
from trainer.methods.simsiam import SimSiam
from trainer.terms.add_terms import add_terms
from trainer.terms.hsic_term import HSIC, Settings
from trainer.terms.term import Seen
from trainer.terms.term_table import read_terms

START = Progress(0, 100, 10)


def loss_of(z: torch.Tensor) -> torch.Tensor:
    seen = Seen(make_views(), START, (0, 1, 2), 2, {"projections": z})
    return HSIC(Settings(gamma=2.0, width=0.5))(seen)


def rows() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(3, 8, 5, generator=generator, dtype=torch.float64)


def test_the_loss_is_the_papers() -> None:
    """A loop over pairs of rows, and the trace of the centred kernel with itself."""
    z = rows()
    u = [(i, z[v, i] / z[v, i].norm()) for v in range(3) for i in range(8)]
    kernel = [[0.5 / (0.25 + (p - q).square().sum()).sqrt() for _, q in u] for _, p in u]
    k = torch.stack([torch.stack(row) for row in kernel])
    centre = torch.eye(24, dtype=torch.float64) - 1 / 24
    within = ((centre @ k @ centre) ** 2).sum() / 24**2
    same = sum(k[a, b] for a in range(24) for b in range(24) if u[a][0] == u[b][0]) / (24 * 2)
    expected = 2 * within.sqrt() - (same - k.mean())
    torch.testing.assert_close(loss_of(z), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    """The loss and its gradient are those of the images of both."""
    check_two_ranks(loss_of, rows(), tmp_path)


def spread(terms: list[dict[str, Any]]) -> float:
    """After SimSiam without its stop-gradient: std of unit rows times sqrt(D), 0 when collapsed."""
    torch.manual_seed(0)
    settings = SimSiamSettings(out_dim=16, predictor_dim=8, projector_layers=2, stop_gradient=False)
    method = SimSiam(Tiny(), settings)
    add_terms(method, read_terms(terms), POLICY)
    # Without the batch norm that would hold the spread by itself.
    method.projector = nn.Sequential(nn.Linear(16, 16))
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)
    embeddings = torch.zeros(1, 16)
    for step in range(100):
        optimizer.zero_grad()
        result = method(make_views(batch_size=32, seed=step), START)
        result.loss.backward()
        optimizer.step()
        embeddings = result.embeddings
    return (unit_rows(embeddings).std(0).mean() * 4).item()


def test_it_keeps_images_apart() -> None:
    """A method that collapses by itself keeps the spread of its embeddings with the term."""
    alone, helped = spread([]), spread([{"name": "hsic", "weight": 5.0, "gamma": 1.0}])
    assert alone < 0.2 < 0.6 < helped, (alone, helped)
