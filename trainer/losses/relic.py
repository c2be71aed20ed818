"""ReLIC's two losses: find the image among others, and say the same of it by whichever two views.

A view of the trained network scores its image and others as a view of the target network shows
them; the softmax of these scores is a distribution over images. Contrast wants the own image in it,
invariance wants it alike for all pairs of views.

Legend: V views of which the first G are the global ones, W ranks, B images of each, N = W B, M
images among which the own one is found, P pairs of views, D features.
"""

import torch

from trainer.distributed import gather_views, rank
from trainer.losses.cosine import unit_rows


def offsets_of_step(
    step: int,  # the seed, so that ranks and a resumed run draw the same ones
    num_images: int,  # N
    num_negatives: int,
) -> torch.Tensor:
    """[M] int64 on the CPU: 0, and others without repetition; image n + offset is a candidate.

    The same for all images and views of a step. Images come in random order, so that those at
    random distances are random ones.
    """
    generator = torch.Generator().manual_seed(step)
    others = 1 + torch.randperm(num_images - 1, generator=generator)[:num_negatives]
    return torch.cat([torch.zeros(1, dtype=others.dtype), others])


def relic_losses(
    online: torch.Tensor,  # [V, B, D] any float - of this rank, global views first
    target: torch.Tensor,  # [G, B, D] any float - of this rank, without gradient
    temperature: float,
    *,
    own_view: bool = False,  # a view is paired with the target of itself too
    offsets: torch.Tensor | None = None,  # [M] int64 - of `offsets_of_step`; None: all N images
) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrast and invariance, two [] float32; N images give ln M and 0 when all rows are equal.

    For an image b and views v, g: p[v, g] = softmax over c of n(online[v, b]) n(target[g, c]) / T
        contrast: mean over b and pairs (v, g) of -log p[v, g][b]
        invariance: mean over b and two unlike pairs q, r of sum_c q[c] log(q[c] / r[c])

    Mitrovic et al. 2020, 2010.07922: the sum over pairs of augmentations, and over pairs of these.
    Two views: the contrast of both directions, and the divergence of both, either way. Which side
    of the divergence is held still is not known to us; ours is the first, q. Every distribution is
    on either side once, so that only the gradient tells.
    """
    q, k = unit_rows(online), gather_views(unit_rows(target))
    batch_size, num_images = q.shape[1], k.shape[1]
    places = rank() * batch_size + torch.arange(batch_size, device=q.device)
    if offsets is not None:
        places = (places[:, None] + offsets) % num_images  # [B, M], the own image first
    contrast, log_p = [], []
    # Autocast would take the products to bf16.
    with torch.autocast(q.device.type, enabled=False):
        for v in range(len(q)):
            for g in range(len(k)):
                if v != g or own_view:
                    scores = q[v] @ k[g].T / temperature
                    own = places[:, None]
                    if offsets is not None:
                        scores, own = scores.gather(1, places), torch.zeros_like(places[:, :1])
                    log_p.append(scores.log_softmax(dim=1))
                    contrast.append(-log_p[-1].gather(1, own).mean())
        return torch.stack(contrast).mean(), _divergence(torch.stack(log_p))


def _divergence(
    log_p: torch.Tensor,  # [P, B, M] float32
) -> torch.Tensor:
    """Mean over images and ordered pairs of distributions of their divergence; [].

    The sum over pairs is taken before the products, so that no [P, P, B, M] tensor is made; a
    distribution with itself adds nothing to it.
    """
    num_pairs, batch_size = log_p.shape[:2]
    p = log_p.detach().exp()
    negative_entropy = num_pairs * (p * log_p.detach()).sum()
    cross = (p.sum(0) * log_p.sum(0)).sum()
    return (negative_entropy - cross) / (batch_size * num_pairs * (num_pairs - 1))
