"""Relations over a queue: a query is as near to other images as a momentum network's key is.

ReSSL takes the relations alone, SCE with the key itself among the candidates, and an InfoNCE beside
them. A key's softmax over the queue enters by its mean row alone, since scores are linear in it:

    sum_m s[m] <q, queue[m]> = <q, sum_m s[m] queue[m]>

so that views of queries and of keys each pass over the queue once, however many pairs there are.

Legend: Q views of queries, K views of keys, B images of this rank, M rows of the queue, D features.
"""

import torch

from trainer.checks import require
from trainer.losses.auto import Impl, use_fused
from trainer.losses.cosine import unit_rows
from trainer.losses.kernels.queue_op import attend_queue


def relational_loss(
    queries: torch.Tensor,  # [Q, B, D] any float
    keys: torch.Tensor,  # [K, B, D] any float - without gradient
    queue: torch.Tensor,  # [M, D] float32 - unit rows, without gradient
    temperature: float,
    key_temperature: float,  # lower, so that the keys' relations are the sharper ones
    *,
    impl: Impl = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy over images and pairs (i, j), [], and the targets' mean entropy, [].

    q = n(queries), k = n(keys), P(x, T) = softmax_m(<x, queue[m]> / T)
    -sum_m P(k[j, b], key_temperature)[m] log P(q[i, b], temperature)[m]

    Both are ln M when all rows are equal. Zheng et al. 2021, 2107.09282, eq. 4 to 6; ReSSL,
    ressl.py and network/ressl.py. More views of queries are those of ressl_multi.py.
    """
    q, k, is_fused = _given(queries, keys, queue, impl)
    _, mean, entropy = _relations(k, queue, key_temperature, is_fused)
    total = _log_sum(q, queue, temperature, is_fused)
    return (total[:, None] - _scores(q, mean, temperature)).mean(), entropy


def similarity_loss(
    queries: torch.Tensor,  # [Q, B, D] any float
    keys: torch.Tensor,  # [K, B, D] any float - without gradient
    queue: torch.Tensor,  # [M, D] float32 - unit rows, without gradient
    temperature: float,
    key_temperature: float,
    own_share: float,  # lambda: what a target has of the own key before any relation
    *,
    skip_own: bool = False,  # query view i and key view i are the same view, hence no pair
    impl: Impl = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy over images and pairs (i, j), [], and the relations' mean entropy, [].

    Candidates are the own key and the queue, C = [k[j, b], queue]:
    w = lambda onehot(0) + (1 - lambda) softmax([0, <k[j, b], queue> / key_temperature])
    -sum_c w[c] log softmax(<q[i, b], C> / temperature)[c]

    That is lambda InfoNCE + (1 - lambda) relations; ln(1 + M) when all rows are equal. The paper
    leaves the own key out of the relations; its code gives it a score of 0 in place of none, so
    that it has a little of their share too: 1 / (1 + M) of it at most, unless the queue is on
    average at an obtuse angle. Here it is as in the code. Denize et al. 2023, 2111.14585, eq. 4 to
    6; SCE, sce/models/siamese/sce.py `compute_loss`.
    """
    q, k, is_fused = _given(queries, keys, queue, impl)
    log_mass, mean, entropy = _relations(k, queue, key_temperature, is_fused)
    # Of the softmax with the score 0: exp(log_mass) / (1 + exp(log_mass)).
    of_queue = (1 - own_share) * log_mass.sigmoid()  # [K, B]
    own = _scores(q, k, temperature)
    total = torch.logaddexp(own, _log_sum(q, queue, temperature, is_fused)[:, None])
    expected = (1 - of_queue) * own + of_queue * _scores(q, mean, temperature)
    losses = total - expected
    pairs = [
        x for i, x_of in enumerate(losses) for j, x in enumerate(x_of) if not skip_own or i != j
    ]
    return torch.stack(pairs).mean(), entropy


def _given(
    queries: torch.Tensor, keys: torch.Tensor, queue: torch.Tensor, impl: Impl
) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Unit rows, and whether the fused form runs: the queue's of InfoNCE, and from its size on."""
    is_possible = not queue.requires_grad
    is_fused = use_fused("queue_info_nce", impl, queue, is_possible=is_possible)
    rule = "fused relations give their queue no gradient"
    require(is_possible or not is_fused, rule, "one that asks for it", "detach it")
    return unit_rows(queries), unit_rows(keys), is_fused


@torch.no_grad()
def _relations(
    k: torch.Tensor,  # [K, B, D]
    queue: torch.Tensor,  # [M, D]
    temperature: float,
    is_fused: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logsumexp of the scores [K, B], the softmax's mean row [K, B, D], its mean entropy []."""
    if is_fused:
        log_sum, mean = attend_queue(k, queue, temperature)
    else:
        # Autocast would take the products to bf16: at T = 0.04 wrong by up to 0.1.
        with torch.autocast(k.device.type, enabled=False):
            scores = k @ queue.T / temperature
            log_sum, mean = scores.logsumexp(dim=-1), scores.softmax(dim=-1) @ queue
    entropy = log_sum - (k * mean).sum(-1) / temperature
    return log_sum, mean, entropy.mean()


def _log_sum(
    q: torch.Tensor,  # [Q, B, D]
    queue: torch.Tensor,  # [M, D]
    temperature: float,
    is_fused: bool,
) -> torch.Tensor:
    """[Q, B]: logsumexp of the scores of the queue."""
    if is_fused:
        return attend_queue(q, queue, temperature)[0]
    with torch.autocast(q.device.type, enabled=False):
        return (q @ queue.T / temperature).logsumexp(dim=-1)


def _scores(
    q: torch.Tensor,  # [Q, B, D]
    rows: torch.Tensor,  # [K, B, D]
    temperature: float,
) -> torch.Tensor:
    """[Q, K, B]: of every query with the rows of its image."""
    # Elementwise: autocast leaves it alone.
    return (q[:, None] * rows).sum(-1) / temperature
