"""InfoNCE against a queue and against negatives that are each query's own.

Legend: Q views of queries, K views of keys, B images, M rows of the queue, S own negatives of a
query, D features.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from trainer.losses.auto import Impl, use_fused
from trainer.losses.cosine import unit_rows
from trainer.losses.info_nce import queue_info_nce
from trainer.losses.kernels.queue_op import attend_queue


@dataclass(frozen=True, slots=True)
class Negatives:
    """What queries are told from, without gradient."""

    shared: torch.Tensor  # [M, D] float32 - unit rows, the queue: of all queries
    own: torch.Tensor | None = None  # [Q, B, S, D] float32 - unit rows, a query's own besides


def negatives_info_nce(
    queries: torch.Tensor,  # [Q, B, D] any float
    keys: torch.Tensor,  # [K, B, D] any float - without gradient
    negatives: Negatives,
    temperature: float,
    *,
    skip_own: bool = False,  # query view i and key view i are the same view, hence no pair
    impl: Impl = "auto",  # of the queue's scores; a query's own are few
) -> torch.Tensor:
    """Mean over images b and pairs (i, j) of the softmax over 1 + M + S candidates; [] float32.

    q = n(queries), k = n(keys)
    -log( exp(q[i, b] k[j, b] / T) / (exp(q[i, b] k[j, b] / T)
          + sum_m exp(q[i, b] shared[m] / T) + sum_s exp(q[i, b] own[i, b, s] / T)) )

    Without own negatives it is `queue_info_nce`. Kalantidis et al. 2020, 2010.01028, eq. 1 and
    section 4.
    """
    shared, own = negatives.shared, negatives.own
    if own is None:
        return queue_info_nce(queries, keys, shared, temperature, skip_own=skip_own, impl=impl)
    q, k = unit_rows(queries), unit_rows(keys)
    # Autocast would take the products to bf16.
    with torch.autocast(q.device.type, enabled=False):
        if use_fused("queue_info_nce", impl, shared):
            of_queue = attend_queue(q, shared, temperature)[0]
        else:
            of_queue = (q @ shared.T / temperature).logsumexp(-1)
        of_own = (own @ q[..., None]).squeeze(-1).div(temperature).logsumexp(-1)
    rest = torch.logaddexp(of_queue, of_own.to(of_queue.dtype))  # [Q, B]
    losses = [
        -F.logsigmoid((q[i] * k[j]).sum(-1) / temperature - rest[i])
        for i in range(len(q))
        for j in range(len(k))
        if not (skip_own and i == j)
    ]
    return torch.stack(losses).mean()
