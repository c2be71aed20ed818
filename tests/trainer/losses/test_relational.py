"""ReSSL's and SCE's losses against loops written from the papers' equations in float64."""

import math

import pytest
import torch
from loss_checks import rows

from shards.errors import UsageError
from trainer.losses.cosine import unit_rows
from trainer.losses.info_nce import queue_info_nce
from trainer.losses.relational import relational_loss, similarity_loss


def softmax(scores: list[torch.Tensor], temperature: float) -> torch.Tensor:
    scaled = torch.stack(scores) / temperature
    return (scaled - scaled.max()).exp() / (scaled - scaled.max()).exp().sum()


def naive_relations(
    q: torch.Tensor, k: torch.Tensor, queue: torch.Tensor, t: float, key_t: float
) -> torch.Tensor:
    """Pair by pair and image by image, over the queue's rows alone."""
    losses = []
    for query in q:
        for key in k:
            for b in range(q.shape[1]):
                said = softmax([key[b] / key[b].norm() @ row for row in queue], key_t)
                asked = softmax([query[b] / query[b].norm() @ row for row in queue], t)
                losses.append(-(said * asked.log()).sum())
    return torch.stack(losses).mean()


def naive_similarity(
    q: torch.Tensor,
    k: torch.Tensor,
    queue: torch.Tensor,
    t: float,
    key_t: float,
    share: float,
    skip_own: bool,
) -> torch.Tensor:
    """The own key first: its score is 0 among the target's, and a product among the query's."""
    losses = []
    for i, query in enumerate(q):
        for j, key in enumerate(k):
            for b in range(q.shape[1]) if not (skip_own and i == j) else ():
                one, other = query[b] / query[b].norm(), key[b] / key[b].norm()
                zero = other.new_zeros(())
                said = (1 - share) * softmax([zero, *(other @ row for row in queue)], key_t)
                said = said + share * torch.eye(len(said), dtype=said.dtype)[0]
                asked = softmax([one @ other, *(one @ row for row in queue)], t)
                losses.append(-(said * asked.log()).sum())
    return torch.stack(losses).mean()


def assert_same(ours: torch.Tensor, loops: torch.Tensor, q: torch.Tensor) -> None:
    torch.testing.assert_close(ours, loops, rtol=1e-11, atol=1e-11)
    (mine,), (theirs,) = torch.autograd.grad(ours, q), torch.autograd.grad(loops, q)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("impl", ["torch", "fused"])
@pytest.mark.parametrize(("t", "key_t"), [(0.1, 0.04), (0.05, 0.5), (10.0, 10.0)])
@pytest.mark.parametrize(("num_queries", "num_keys"), [(1, 1), (5, 1), (3, 2)])
def test_relations(num_queries: int, num_keys: int, t: float, key_t: float, impl) -> None:
    """Value and the queries' gradient equal the loops, of rows of any length, in both forms."""
    q, k = rows(num_queries, 3, 7).requires_grad_(), rows(num_keys, 3, 7, seed=1)
    queue = unit_rows(rows(11, 7, seed=2))
    ours, _ = relational_loss(q, k, queue, t, key_t, impl=impl)
    assert_same(ours, naive_relations(q, k, queue, t, key_t), q)


@pytest.mark.parametrize("impl", ["torch", "fused"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("num_queries", "num_keys", "skip_own"), [(1, 1, False), (4, 1, False), (5, 2, True)]
)
@pytest.mark.parametrize(("t", "key_t"), [(0.1, 0.07), (0.3, 0.05)])
def test_similarity(
    num_queries: int, num_keys: int, skip_own: bool, share: float, t: float, key_t: float, impl
) -> None:
    """Value and gradient equal the loops, one-sided and symmetric, in both forms."""
    q, k = rows(num_queries, 3, 7).requires_grad_(), rows(num_keys, 3, 7, seed=1)
    queue = unit_rows(rows(11, 7, seed=2))
    ours, _ = similarity_loss(q, k, queue, t, key_t, share, skip_own=skip_own, impl=impl)
    assert_same(ours, naive_similarity(q, k, queue, t, key_t, share, skip_own), q)


def test_all_of_the_own_share_is_info_nce() -> None:
    """Lambda 1 is MoCo's loss, and between it and 0 the loss is linear."""
    q, k, queue = rows(4, 5, 6), rows(2, 5, 6, seed=1), unit_rows(rows(9, 6, seed=2))
    none, some, whole = (
        similarity_loss(q, k, queue, 0.2, 0.1, share, skip_own=True)[0] for share in (0, 0.3, 1)
    )
    torch.testing.assert_close(whole, queue_info_nce(q, k, queue, 0.2, skip_own=True))
    torch.testing.assert_close(some, 0.3 * whole + 0.7 * none)


def test_entropy_is_that_of_the_targets() -> None:
    """Both losses tell the mean entropy of the keys' softmax over the queue: ln M when alike."""
    q, k, queue = rows(2, 5, 6), rows(1, 5, 6, seed=1), unit_rows(rows(9, 6, seed=2))
    said = [softmax([key / key.norm() @ row for row in queue], 0.1) for key in k[0]]
    expected = torch.stack([-(p * p.log()).sum() for p in said]).mean()
    torch.testing.assert_close(relational_loss(q, k, queue, 0.2, 0.1)[1], expected)
    torch.testing.assert_close(similarity_loss(q, k, queue, 0.2, 0.1, 0.5)[1], expected)
    same = queue[:1].expand(9, 6)
    loss, entropy = relational_loss(q, k, same, 0.2, 0.1)
    assert float(loss) == pytest.approx(math.log(9)) == float(entropy)


def test_one_right_value() -> None:
    """Two rows at right angles: ln 2 less what the key says of the nearer one, by hand."""
    q = torch.tensor([[[1.0, 0.0]]])
    queue = torch.eye(2)
    loss, _ = relational_loss(q, q, queue, 1.0, 0.5)
    near, wide = math.exp(2) / (1 + math.exp(2)), math.e / (1 + math.e)
    by_hand = -(near * math.log(wide) + (1 - near) * math.log(1 - wide))
    assert float(loss) == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("impl", ["torch", "fused"])
def test_autocast_changes_nothing(impl) -> None:
    """At a temperature of 0.04 products in bf16 would be wrong by a tenth: none is."""
    q, k = rows(2, 4, 16).float(), rows(1, 4, 16, seed=1).float()
    queue = unit_rows(rows(33, 16, seed=2)).float()
    plain = similarity_loss(q, k, queue, 0.1, 0.04, 0.5, impl=impl)
    with torch.autocast("cpu", torch.bfloat16):
        cast = similarity_loss(q, k, queue, 0.1, 0.04, 0.5, impl=impl)
    assert (cast[0].item(), cast[1].item()) == (plain[0].item(), plain[1].item())


def test_a_fused_form_refuses_a_trained_queue() -> None:
    """Auto takes the plain form for it, and fused, asked for, is one line."""
    q, k = rows(1, 3, 4), rows(1, 3, 4, seed=1)
    queue = unit_rows(rows(5, 4, seed=2)).requires_grad_()
    loss, _ = relational_loss(q, k, queue, 0.2, 0.1)
    assert loss.requires_grad
    with pytest.raises(
        UsageError, match=r"fused relations give their queue no gradient.*detach it"
    ):
        relational_loss(q, k, queue, 0.2, 0.1, impl="fused")
