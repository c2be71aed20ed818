"""MoCHi's mixtures: of which rows, how much of each, from when on, without gradient."""

import pytest
import torch
from term_views import make_views

from shards.errors import UsageError
from trainer.losses.cosine import unit_rows
from trainer.losses.own_negatives import Negatives
from trainer.methods.protocol import Progress
from trainer.nets.view_noise import Use
from trainer.terms.mochi import MoCHi, Settings
from trainer.terms.term import Seen

SETTINGS = Settings(hardest=4, pairs=6, with_query=3, start_epoch=2.0)


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def seen(z: torch.Tensor, step: int = 20) -> Seen:
    views = make_views(batch_size=5)
    return Seen(views, Progress(step, 100, 10.0), (0, 2), 1, {"projections": z}, seed=7)


def test_mixtures_are_the_papers() -> None:
    """A loop over queries; rows of length 1, of the four nearest; at most half of the query."""
    z, queue = rows(2, 5, 6).requires_grad_(), unit_rows(rows(12, 6, seed=1))
    what = seen(z)
    found = MoCHi(SETTINGS, 12).change(Negatives(queue), what)
    assert found.shared is queue
    assert not found.own.requires_grad
    numbers = what.uniforms(Use.MIXED_NEGATIVES, 24)
    for v in range(2):
        for b in range(5):
            q = z[v, b].detach() / z[v, b].detach().norm()
            nearest = sorted(queue, key=lambda n, q=q: -float(q @ n))[:4]
            u, mixed = [float(x) for x in numbers[v, b]], []
            for i in range(6):
                one, two, a = nearest[int(4 * u[i])], nearest[int(4 * u[6 + i])], u[12 + i]
                mixed.append(a * one + (1 - a) * two)
            for i in range(3):
                share = u[21 + i] / 2
                mixed.append(share * q + (1 - share) * nearest[int(4 * u[18 + i])])
            expected = torch.stack([row / row.norm() for row in mixed])
            torch.testing.assert_close(found.own[v, b], expected, rtol=1e-12, atol=1e-12)


def test_it_waits_for_its_epoch() -> None:
    """Before, a query has the queue's negatives alone; from then on other mixtures each step."""
    z, queue = rows(2, 5, 6), unit_rows(rows(12, 6, seed=1))
    term = MoCHi(SETTINGS, 12)
    assert term.change(Negatives(queue), seen(z, step=19)).own is None
    assert term.change(Negatives(queue), seen(z, step=20)).own.shape == (2, 5, 9, 6)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"hardest": 13}, "rows of the queue, which holds 12, got 13; lower hardest, or raise"),
        ({"pairs": 0, "with_query": 0}, "mochi mixes pairs or with_query, got 0"),
        ({"pairs": 6000}, "at most 16384, got 18256; lower pairs"),
    ],
)
def test_what_cannot_be_mixed_is_refused(changes: dict[str, int], rule: str) -> None:
    """In one line, when the term is made."""
    with pytest.raises(UsageError, match=rule):
        MoCHi(Settings(**{"hardest": 4, **changes}), 12)
