"""DCL: NT-Xent without the positive among its candidates, so that its pull does not fade.

NT-Xent's gradient has a factor of one less the positive's share of the softmax, which is small
where few candidates compete: in small batches. Here that factor is gone.

Legend: V views of which the first G are the global ones, W ranks, B images of each, D features.
"""

import math

import torch

from trainer.checks import require
from trainer.distributed import gather_last, gather_views, rank
from trainer.losses.auto import Impl, use_fused
from trainer.losses.cosine import EPS, unit_rows
from trainer.losses.kernels.views_op import view_scores


def dcl_loss(
    z: torch.Tensor,  # [V, B, D] any float - projections of this rank, global views first
    num_targets: int,  # G
    temperature: float = 0.1,
    sigma: float | None = None,  # of the weights (DCLW); None: all are 1 (DCL)
    impl: Impl = "auto",
) -> torch.Tensor:
    """Mean over images b and ordered pairs of views (v, g), g != v a global view; [] float32.

    u = n(z), N = W B, s = <u[v, b], u[g, b]>
    -w s / T + log sum over (y, c) of exp(u[v, b] u[y, c] / T)
    with the 2N - 2 candidates y in {v, g}, c = 1 .. N, c != b
    w = 1, or 2 - N softmax over all images of (s / sigma), without gradient; its mean is 1

    Ln(2N - 2) when all rows are equal. Views beyond two are our generalisation, as in
    losses/nt_xent.py. Yeh et al. 2021, 2110.06848, eq. 6; lightly DCLLoss, DCLWLoss, and
    raminnakhli/Decoupled-Contrastive-Learning loss/dcl.py, which adds both directions and leaves N
    out of the weights.

    The fused form is NT-Xent's: it keeps V^2 numbers an image, in place of scores of all images.
    """
    is_fused = use_fused("nt_xent", impl, z)
    negatives, positives = (_fused if is_fused else _plain)(z, num_targets, temperature)
    losses = []
    for v in range(len(z)):
        for g in range(num_targets):
            if v != g:
                pull = positives[v, g]
                if sigma is not None:
                    pull = pull * _weights(pull.detach() * temperature / sigma)
                losses.append(torch.logaddexp(negatives[v, v], negatives[v, g]) - pull)
    return torch.stack(losses).mean()


def _weights(
    scores: torch.Tensor,  # [B] - of this rank's pairs
) -> torch.Tensor:
    """[B], smaller for pairs that agree already."""
    everyone = gather_last(scores)
    return 2 - len(everyone) * (scores - everyone.logsumexp(0)).exp()


def _plain(
    z: torch.Tensor, num_targets: int, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log sums over other images [V, V, B], with -inf for views that never ask; pairs [V, G, B]."""
    u = unit_rows(z)
    everyone = gather_views(u)  # [V, N, D]
    num_views, batch_size = u.shape[:2]
    _check(everyone.shape[1])
    own = rank() * batch_size + torch.arange(batch_size, device=u.device)
    rows, lowest = [], u.new_full((batch_size,), -math.inf)
    # Autocast would take the products to bf16: at T = 0.1 wrong by up to 0.04.
    with torch.autocast(u.device.type, enabled=False):
        for v in range(num_views):
            sums = []
            for w in range(num_views):
                if w >= num_targets and w != v:
                    sums.append(lowest)
                    continue
                scores = u[v] @ everyone[w].T / temperature
                sums.append(scores.scatter(1, own[:, None], -math.inf).logsumexp(1))
            rows.append(torch.stack(sums))
    pairs = torch.stack([(u * u[g]).sum(-1) for g in range(num_targets)], dim=1)
    return torch.stack(rows), pairs / temperature


def _fused(
    z: torch.Tensor, num_targets: int, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    everyone = gather_views(z.detach())
    _check(everyone.shape[1])
    return view_scores(z, everyone, num_targets, rank() * z.shape[1], temperature, EPS)


def _check(num_images: int) -> None:
    # Without another image there is nothing to push from, and the loss has no least value.
    require(num_images >= 2, "dcl takes at least two images", num_images, "raise --batch-size")
