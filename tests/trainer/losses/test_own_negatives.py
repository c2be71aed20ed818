"""InfoNCE with a query's own negatives against a loop over its equation."""

import pytest
import torch

from trainer.losses.cosine import unit_rows
from trainer.losses.info_nce import queue_info_nce
from trainer.losses.own_negatives import Negatives, negatives_info_nce


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("impl", ["torch", "fused"])
@pytest.mark.parametrize("skip_own", [False, True])
def test_the_loss_is_the_papers(impl: str, skip_own: bool) -> None:
    """Values and the queries' gradient, in both forms of the queue's scores."""
    q, k = rows(3, 4, 6).requires_grad_(), rows(2, 4, 6, seed=1)
    negatives = Negatives(unit_rows(rows(7, 6, seed=2)), unit_rows(rows(3, 4, 5, 6, seed=3)))
    losses = []
    for i in range(3):
        for j in range(2):
            for b in range(4):
                if skip_own and i == j:
                    continue
                candidates = [k[j, b], *negatives.shared, *negatives.own[i, b]]
                scores = [torch.cosine_similarity(q[i, b], c, 0) / 0.2 for c in candidates]
                losses.append(torch.stack(scores).logsumexp(0) - scores[0])
    loops = torch.stack(losses).mean()
    ours = negatives_info_nce(q, k, negatives, 0.2, skip_own=skip_own, impl=impl)
    torch.testing.assert_close(ours, loops, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(
        torch.autograd.grad(ours, q), torch.autograd.grad(loops, q), rtol=1e-9, atol=1e-12
    )


def test_without_own_ones_it_is_the_queues() -> None:
    """Bit for bit."""
    q, k, queue = rows(2, 4, 6), rows(2, 4, 6, seed=1), unit_rows(rows(7, 6, seed=2))
    ours = negatives_info_nce(q, k, Negatives(queue), 0.2, skip_own=True)
    assert torch.equal(ours, queue_info_nce(q, k, queue, 0.2, skip_own=True))
