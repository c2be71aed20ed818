"""NT-Xent whose queries are other rows than its candidates, as samples around these.

Legend: V views of which the first G are the global ones, W ranks, B images of each, D features.
"""

import math

import torch
from torch.nn import functional as F

from trainer.distributed import gather_views, rank
from trainer.losses.cosine import unit_rows
from trainer.losses.nt_xent import nt_xent_loss


def asked_nt_xent_loss(
    queries: torch.Tensor,  # [V, B, D] any float - of this rank; z itself: NT-Xent
    z: torch.Tensor,  # [V, B, D] any float - projections of this rank, global views first
    num_targets: int,  # G
    temperature: float = 0.1,
) -> torch.Tensor:
    """Mean over images b and ordered pairs of views (v, g), g != v a global view; [] float32.

    q = n(queries), u = n(z), N = W B
    -log( exp(q[v, b] u[g, b] / T) / sum over (w, c) of exp(q[v, b] u[w, c] / T) )
    with the 2N - 1 candidates w in {v, g}, c = 1 .. N, but for (v, b) itself

    Conventions of losses/nt_xent.py; both sides have a gradient. Lee et al. 2021, 2109.12909;
    google-research/compressive-visual-representations objective.py `add_contrastive_ceb_loss`, its
    double batch trick: the candidates of the query's own view.
    """
    if queries is z:
        return nt_xent_loss(z, num_targets, temperature)
    q, everyone = unit_rows(queries), gather_views(unit_rows(z))  # [V, B, D], [V, N, D]
    own = rank() * q.shape[1] + torch.arange(q.shape[1], device=q.device)
    losses = []
    # Autocast would take the products to bf16: at T = 0.1 wrong by up to 0.04.
    with torch.autocast(q.device.type, enabled=False):
        for v, asking in enumerate(q / temperature):
            same = (asking @ everyone[v].T).scatter(1, own[:, None], -math.inf)
            losses += [
                F.cross_entropy(torch.cat([asking @ everyone[g].T, same], dim=1), own)
                for g in range(num_targets)
                if g != v
            ]
    return torch.stack(losses).mean()
