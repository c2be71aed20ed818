"""InfoNCE of queue and of batch against loops written from the papers' equations in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from trainer.losses.cosine import unit_rows
from trainer.losses.info_nce import batch_info_nce, queue_info_nce


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_softmax(query: torch.Tensor, candidates: list[torch.Tensor], t: float) -> torch.Tensor:
    """-log of the first candidate's share, all rows brought to length 1."""
    scores = torch.stack([query / query.norm() @ (k / k.norm()) / t for k in candidates])
    peak = scores.max().item()
    return peak + (scores - peak).exp().sum().log() - scores[0]


def naive_queue(
    q: torch.Tensor, k: torch.Tensor, queue: torch.Tensor, t: float, skip_own: bool
) -> torch.Tensor:
    terms = [
        naive_softmax(q[i, b], [k[j, b], *queue], t)
        for i in range(len(q))
        for j in range(len(k))
        if not (skip_own and i == j)
        for b in range(q.shape[1])
    ]
    return torch.stack(terms).mean()


def naive_batch(
    q: torch.Tensor, k: torch.Tensor, t: float, queue: torch.Tensor | None = None
) -> torch.Tensor:
    terms = []
    for i in range(len(q)):
        for j in range(len(k)):
            for b in range(q.shape[1]) if i != j else ():
                others = [k[j, c] for c in range(k.shape[1]) if c != b]
                further = [] if queue is None else list(queue)
                terms.append(naive_softmax(q[i, b], [k[j, b], *others, *further], t))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("temperature", [0.01, 0.07, 10.0])
@pytest.mark.parametrize(
    ("num_queries", "num_keys", "skip_own"), [(1, 1, False), (7, 1, False), (5, 2, True)]
)
def test_queue_form(num_queries: int, num_keys: int, skip_own: bool, temperature: float) -> None:
    """Value and the queries' gradient equal the loops, one-sided and symmetric."""
    q, k = rows(num_queries, 3, 7).requires_grad_(), rows(num_keys, 3, 7, seed=1)
    queue = unit_rows(rows(11, 7, seed=2))
    ours = queue_info_nce(q, k, queue, temperature, skip_own=skip_own)
    loops = naive_queue(q, k, queue, temperature, skip_own)
    torch.testing.assert_close(ours, loops, rtol=1e-11, atol=1e-11)
    (mine,), (theirs,) = torch.autograd.grad(ours, q), torch.autograd.grad(loops, q)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("temperature", [0.01, 0.2, 10.0])
@pytest.mark.parametrize(("num_queries", "num_keys"), [(2, 2), (5, 2), (2, 5), (4, 4)])
@pytest.mark.parametrize("length", [None, 0, 6])
def test_batch_form(
    num_queries: int, num_keys: int, length: int | None, temperature: float
) -> None:
    """Value and the gradients of queries and keys equal the loops, with and without a queue."""
    q = rows(num_queries, 3, 7).requires_grad_()
    k = rows(num_keys, 3, 7, seed=1).requires_grad_()
    queue = None if length is None else unit_rows(rows(length, 7, seed=2))
    ours = batch_info_nce(q, k, temperature, queue)
    loops = naive_batch(q, k, temperature, queue)
    torch.testing.assert_close(ours, loops, rtol=1e-11, atol=1e-11)
    ours_grads = torch.autograd.grad(ours, (q, k))
    for mine, theirs in zip(ours_grads, torch.autograd.grad(loops, (q, k)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


def test_two_views_are_the_codes() -> None:
    """MoCo: cross-entropy of [positive, queue] with label 0; v3: ctr sums two directions x 2 T."""
    q, k = (F.normalize(rows(2, 6, 9, seed=s), dim=-1) for s in (0, 1))
    queue, t = F.normalize(rows(20, 9, seed=2), dim=1), 0.2
    logits = torch.cat([(q[0] * k[1]).sum(1, keepdim=True), q[0] @ queue.T], dim=1) / t
    moco = F.cross_entropy(logits, torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(queue_info_nce(q[:1], k[1:], queue, t), moco)

    def ctr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(a @ b.T / t, torch.arange(6)) * 2 * t

    v3 = ctr(q[0], k[1]) + ctr(q[1], k[0])
    torch.testing.assert_close(2 * 2 * t * batch_info_nce(q, k, t), v3)


@pytest.mark.parametrize("length", [3, 65536])
def test_start_values(length: int) -> None:
    """Equal rows cost ln(K + 1), 11.09 at the paper's 65,536; in a batch ln B; both ln(B + K)."""
    ones, queue = torch.ones(2, 5, 4), torch.full((length, 4), 0.5)
    loss = queue_info_nce(ones, ones, queue, 0.07, skip_own=True)
    assert loss.item() == pytest.approx(math.log(length + 1), rel=1e-5)
    assert batch_info_nce(ones, ones, 1.0).item() == pytest.approx(math.log(5), rel=1e-5)
    both = batch_info_nce(ones, ones, 1.0, queue)
    assert both.item() == pytest.approx(math.log(length + 5), rel=1e-5)


def test_a_key_that_is_found_leaves_a_small_exact_loss() -> None:
    """-log p for p within 1e-12 of 1, in float32: no difference of large logarithms."""
    q = torch.eye(4)[None, :1].float()
    queue = -torch.eye(4)[:1].float()
    loss = queue_info_nce(q, q, queue, 0.07)
    # logsumexp - positive is 0 here, and so is its gradient.
    assert loss.item() == pytest.approx(math.exp(-2 / 0.07), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_inputs_are_computed_in_float32(dtype: torch.dtype) -> None:
    """Half inputs whose squares overflow, also under autocast: the float32 loss, to the bit."""
    q, k = (300 * rows(3, 8, 64)).to(dtype), (300 * rows(2, 8, 64, seed=1)).to(dtype)
    queue = unit_rows(rows(9, 64, seed=2)).float()

    def losses(q: torch.Tensor, k: torch.Tensor) -> list[torch.Tensor]:
        return [
            queue_info_nce(q, k, queue, 0.07, skip_own=True),
            batch_info_nce(q, k, 0.07),
            batch_info_nce(q, k, 0.07, queue),
        ]

    expected = losses(q.float(), k.float())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = losses(q.float(), k.float())
    for ours, autocast, float32 in zip(losses(q, k), mixed, expected, strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, float32)
        assert torch.equal(autocast, float32)
    reference = naive_queue(q.double(), k.double(), queue.double(), 0.07, skip_own=True)
    torch.testing.assert_close(expected[0].double(), reference, rtol=1e-5, atol=1e-5)


def test_zero_and_duplicate_rows() -> None:
    """A zero query costs ln of the candidates, without gradient; a key in its queue costs ln 2."""
    q, k = rows(1, 3, 4).float(), rows(2, 3, 4, seed=1).float()
    q[0, 1] = 0
    q.requires_grad_()
    queue = unit_rows(rows(6, 4, seed=2)).float()
    for loss in (queue_info_nce(q, k[1:], queue, 0.01), batch_info_nce(q, k, 0.01, queue)):
        (grad,) = torch.autograd.grad(loss, q)
        assert loss.isfinite()
        assert grad.isfinite().all()
        assert grad[0, 1].abs().max() == 0
    zero = torch.zeros(1, 1, 4)
    assert queue_info_nce(zero, k[:1, :1], queue, 0.01).item() == pytest.approx(math.log(7))
    stale = unit_rows(k[0, :1])
    assert queue_info_nce(q[:, :1], k[:1, :1], stale, 0.01).item() == pytest.approx(math.log(2))
