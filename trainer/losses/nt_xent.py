"""NT-Xent: a view finds the other view of its image among all views of all images.

Every rank scores its own rows against those of all ranks, gathered with their gradient: a row is
candidate of other ranks' rows too, and without that part the gradient points elsewhere.

Legend: V views of which the first G are the global ones, W ranks, B images of each, D features.
"""

import math

import torch
from torch.nn import functional as F

from trainer.distributed import gather_views, rank
from trainer.losses.auto import Impl, use_fused
from trainer.losses.cosine import EPS, unit_rows
from trainer.losses.kernels.views_op import view_scores


def nt_xent_loss(
    z: torch.Tensor,  # [V, B, D] any float - projections of this rank, global views first
    num_targets: int,  # G
    temperature: float = 0.1,
    impl: Impl = "auto",
) -> torch.Tensor:
    """Mean over images b and ordered pairs of views (v, g), g != v a global view; [] float32.

    u = n(z), N = W B
    -log( exp(u[v, b] u[g, b] / T) / sum over (w, c) of exp(u[v, b] u[w, c] / T) )
    with the 2N - 1 candidates w in {v, g}, c = 1 .. N, but for (v, b) itself

    Two views: the paper's mean over the 2N rows, ln(2N - 1) when all rows are equal; the code adds
    the means of the two views, hence gives twice as much. More views are our generalisation: each
    pair is a batch of two views, in which a local view only asks. Chen et al. 2020, 2002.05709,
    eq. 1; google-research/simclr objective.py `add_contrastive_loss`.

    The fused form keeps V^2 numbers an image, in place of scores of all images.
    """
    if use_fused("nt_xent", impl, z):
        return _fused(z, num_targets, temperature)
    u = unit_rows(z)
    everyone = gather_views(u)  # [V, N, D]
    batch_size = u.shape[1]
    own = rank() * batch_size + torch.arange(batch_size, device=u.device)
    losses = []
    # Autocast would take the products to bf16: at T = 0.1 wrong by up to 0.04.
    with torch.autocast(u.device.type, enabled=False):
        for v in range(len(u)):
            same = u[v] @ everyone[v].T / temperature
            same = same.scatter(1, own[:, None], -math.inf)
            for g in range(num_targets):
                if g != v:
                    other = u[v] @ everyone[g].T / temperature
                    losses.append(F.cross_entropy(torch.cat([other, same], dim=1), own))
    return torch.stack(losses).mean()


def _fused(z: torch.Tensor, num_targets: int, temperature: float) -> torch.Tensor:
    everyone = gather_views(z.detach())
    first = rank() * z.shape[1]
    negatives, positives = view_scores(z, everyone, num_targets, first, temperature, EPS)
    losses = [
        # The softmax of two: the own image against all others, of both views.
        -F.logsigmoid(positives[v, g] - torch.logaddexp(negatives[v, v], negatives[v, g]))
        for v in range(len(z))
        for g in range(num_targets)
        if v != g
    ]
    return torch.stack(losses).mean()
