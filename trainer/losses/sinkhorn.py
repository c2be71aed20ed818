"""Sinkhorn-Knopp: soft codes that use every prototype equally, in the log domain.

Two potentials, one a prototype and one a sample, replace rewriting the whole matrix: nothing can
overflow, at any score. The result equals SwAV's multiplicative form, whose factors B and K cancel.
Only the prototypes' potential needs other ranks.

Legend: A assigned crops (solved apart, sharing collectives), R rows of this rank, K prototypes.
"""

import torch

from trainer.distributed import all_reduce_


@torch.no_grad()
def sinkhorn(
    scores: torch.Tensor,  # [A, R, K] any float - similarities, queue rows included
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
) -> torch.Tensor:
    """Codes q [A, R, K] float32: rows sum to 1, columns to (rows of all ranks) / K in the limit.

    S = scores / epsilon;  g = 0
    repeat: f[k] = -logsumexp_r(S[r, k] + g[r])    over the rows of all ranks
            g[r] = -logsumexp_k(S[r, k] + f[k])
    q[r, k] = exp(S[r, k] + f[k] + g[r])

    Caron et al. 2020, 2006.09882, section 3.1; main_swav.py `distributed_sinkhorn`. The number of
    rows may differ between ranks.
    """
    s = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    g = s.new_zeros(*s.shape[:-1], 1)
    f = s.new_zeros(*s.shape[:-2], 1, s.shape[-1])
    for _ in range(iterations):
        f = -_logsumexp_over_ranks(s + g)
        g = -torch.logsumexp(s + f, dim=-1, keepdim=True)
    return (s + f + g).exp()


def _logsumexp_over_ranks(
    x: torch.Tensor,  # [A, R, K]
) -> torch.Tensor:
    """[A, 1, K]: logsumexp over the rows of every rank."""
    # One peak a prototype: a shift of a whole column cancels, one of a row would not.
    peak = all_reduce_(x.amax(dim=-2, keepdim=True), "max")
    return peak + all_reduce_((x - peak).exp().sum(dim=-2, keepdim=True)).log()
