"""InfoNCE between views: a query finds its image's key among others' keys, of queue or batch.

MoCo v1 and v2 take the other keys from a queue, MoCo v3 and NNCLR from the batch, SimCLR v2 with
its memory from both. (Over drawn rows of a memory bank: losses/nce.py.)

Legend: Q views of queries, K views of keys, W ranks, B images of each, M rows of the queue, D
features.
"""

import torch
from torch.nn import functional as F

from trainer.checks import require
from trainer.distributed import gather_views, rank
from trainer.losses.auto import Impl, use_fused
from trainer.losses.cosine import unit_rows
from trainer.losses.kernels.keys_op import key_scores
from trainer.losses.kernels.queue_op import attend_queue


def queue_info_nce(
    queries: torch.Tensor,  # [Q, B, D] any float
    keys: torch.Tensor,  # [K, B, D] any float - without gradient
    queue: torch.Tensor,  # [M, D] float32 - unit rows, keys of former batches
    temperature: float,
    *,
    skip_own: bool = False,  # query view i and key view i are the same view, hence no pair
    impl: Impl = "auto",
) -> torch.Tensor:
    """Mean over images b and pairs (i, j) of the softmax over 1 + M candidates; [] float32.

    q = n(queries), k = n(keys)
    -log( exp(q[i, b] k[j, b] / T) / (exp(q[i, b] k[j, b] / T) + sum_m exp(q[i, b] queue[m] / T)) )

    ln(M + 1) when all rows are equal. One view of each is the paper's; local views are further
    queries. He et al. 2020, 1911.05722, eq. 1; moco/builder.py `MoCo.forward`.

    The fused form goes over the queue once and keeps a gradient of the queries' size, in place of
    Q x B x M scores and the queue, of which it is no derivative.
    """
    q, k = unit_rows(queries), unit_rows(keys)
    negatives = _of_queue(q, queue, temperature, _is_fused("queue_info_nce", impl, queue, queue))
    return _softmax_of_two(q, k, negatives[:, None], temperature, skip_own=skip_own)


def batch_info_nce(
    queries: torch.Tensor,  # [Q, B, D] any float - of this rank
    keys: torch.Tensor,  # [K, B, D] any float - of this rank
    temperature: float,
    queue: torch.Tensor | None = None,  # [M, D] float32 - unit rows, further candidates
    impl: Impl = "auto",
) -> torch.Tensor:
    """Mean over images b and pairs of views (i, j), i != j, of the softmax over W B [+ M] keys; [].

    q = n(queries), k = n(keys), N = W B
    -log( exp(q[i, b] k[j, b] / T) / (sum_{c <= N} exp(q[i, b] k[j, c] / T) [+ the queue's]) )

    ln(N [+ M]) when all rows are equal. A query's own view is no candidate. Keys of all ranks are
    gathered with their gradient, where they have one (NNCLR's have, MoCo v3's have none).
    Chen et al. 2021, 2104.02057, algorithm 1, without its factor 2 T; moco-v3, moco/builder.py.

    The fused form keeps Q x K numbers an image, in place of scores of all images.
    """
    q, k = unit_rows(queries), unit_rows(keys)
    if _is_fused("batch_info_nce", impl, queries, queue):
        first = rank() * q.shape[1]
        negatives = key_scores(q, k, gather_views(k.detach()), first, temperature)
        if queue is not None:
            further = _of_queue(q, queue, temperature, is_fused=True)
            negatives = torch.logaddexp(negatives, further[:, None])
        return _softmax_of_two(q, k, negatives, temperature, skip_own=True)
    return _plain_batch(q, gather_views(k), temperature, queue)


def _plain_batch(
    q: torch.Tensor,  # [Q, B, D]
    k: torch.Tensor,  # [K, N, D]
    temperature: float,
    queue: torch.Tensor | None,
) -> torch.Tensor:
    batch_size = q.shape[1]
    own = rank() * batch_size + torch.arange(batch_size, device=q.device)
    losses = []
    with torch.autocast(q.device.type, enabled=False):
        for i in range(len(q)):
            further = [] if queue is None else [q[i] @ queue.T]
            for j in range(len(k)):
                if i != j:
                    scores = torch.cat([q[i] @ k[j].T, *further], dim=1) / temperature
                    losses.append(F.cross_entropy(scores, own))
    return torch.stack(losses).mean()


def _is_fused(name: str, impl: Impl, x: torch.Tensor, queue: torch.Tensor | None) -> bool:
    is_possible = queue is None or not queue.requires_grad
    is_fused = use_fused(name, impl, x, is_possible=is_possible)
    rule = "a fused InfoNCE gives its queue no gradient"
    require(is_possible or not is_fused, rule, "one that asks for it", "detach it")
    return is_fused


def _of_queue(
    q: torch.Tensor,  # [Q, B, D]
    queue: torch.Tensor,  # [M, D]
    temperature: float,
    is_fused: bool,
) -> torch.Tensor:
    """[Q, B]: logsumexp of the scores, once for all keys of a query."""
    if is_fused:
        return attend_queue(q, queue, temperature)[0]
    # Autocast would take the products to bf16: at T = 0.07 wrong by up to 0.06.
    with torch.autocast(q.device.type, enabled=False):
        return (q @ queue.T / temperature).logsumexp(dim=-1)


def _softmax_of_two(
    q: torch.Tensor,  # [Q, B, D]
    k: torch.Tensor,  # [K, B, D]
    negatives: torch.Tensor,  # [Q, K or 1, B] - logsumexp of the other candidates' scores
    temperature: float,
    *,
    skip_own: bool,
) -> torch.Tensor:
    """Mean -log of the own key's share; small ones are kept, as in no difference of logarithms."""
    # Elementwise: autocast, also one around backward, leaves it alone.
    positives = torch.stack([(q * key).sum(-1) for key in k], dim=1) / temperature  # [Q, K, B]
    losses = -F.logsigmoid(positives - negatives)
    if not skip_own:
        return losses.mean()
    own = torch.eye(len(q), len(k), dtype=torch.bool, device=q.device)
    num_losses = losses.numel() - min(len(q), len(k)) * q.shape[1]
    return losses.masked_fill(own[..., None], 0).sum() / num_losses
