"""Sinkhorn-Knopp: soft codes that use every prototype equally, in the log domain.

Two potentials, one a prototype and one a sample, replace rewriting the whole matrix: nothing can
overflow, at any score. The result equals SwAV's multiplicative form, whose factors B and K cancel.
Only the prototypes' potential needs other ranks: one collective an iteration.

Legend: A assigned crops (solved apart, sharing collectives), R rows of this rank, K prototypes.
"""

import torch

from trainer.checks import require
from trainer.distributed import gather_rows
from trainer.losses.auto import Impl, use_fused
from trainer.losses.codes import Codes
from trainer.losses.kernels.chunks import accumulator
from trainer.losses.kernels.sinkhorn_op import sample_potentials, sinkhorn_step


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
    return sinkhorn_codes(scores, epsilon=epsilon, iterations=iterations).matrix()


@torch.no_grad()
def sinkhorn_codes(
    scores: torch.Tensor,  # [A, R, K] any float - similarities
    queue: torch.Tensor | None = None,  # [A, Q, K] any float - rows that only share the balance
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
    impl: Impl = "auto",
) -> Codes:
    """The same codes of `scores` as f and g; the fused form writes nothing but those."""
    require(iterations >= 1, "sinkhorn iterations is at least 1", iterations, "try 3")
    blocks = [scores.detach()] if queue is None else [queue.detach(), scores.detach()]
    scale, f = 1 / epsilon, None
    if use_fused("sinkhorn", impl, blocks[0]):
        for _ in range(iterations):
            f = _over_ranks([sinkhorn_step(block, f, scale) for block in blocks])
        assert f is not None
        return Codes(blocks[-1], scale, f, sample_potentials(blocks[-1], f, scale))
    scaled = [block.to(accumulator(block)) * scale for block in blocks]
    g: list[torch.Tensor | float] = [0.0 for _ in scaled]
    for _ in range(iterations):
        f = _over_ranks([-torch.logsumexp(s + x, dim=1) for s, x in zip(scaled, g, strict=True)])
        g = [-torch.logsumexp(s + f[:, None], dim=2, keepdim=True) for s in scaled]
    assert f is not None
    return Codes(blocks[-1], scale, f, torch.as_tensor(g[-1]).squeeze(-1))


def _over_ranks(
    parts: list[torch.Tensor],  # [A, K] each - potentials from some rows alone
) -> torch.Tensor:
    """[A, K]: from all of these rows on all ranks, added up in the order of ranks."""
    f = gather_rows(torch.stack(parts)) if len(parts) > 1 else gather_rows(parts[0][None])
    return f[0] if len(f) == 1 else -torch.logsumexp(-f, dim=0)
