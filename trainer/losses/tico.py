"""TiCo's loss: views agree, and embeddings keep away from directions that many have had lately.

Legend: B images of this rank, V views of which the first G are the global ones, D features.
"""

import torch

from trainer.distributed import all_reduce_
from trainer.losses.cosine import pair_cosine, unit_rows


@torch.no_grad()
def running_covariance(
    covariance: torch.Tensor,  # [D, D] float32 - C before this step; left as it is
    z: torch.Tensor,  # [V, B, D] any float - projections of this rank
    beta: float,
) -> torch.Tensor:
    """[D, D] float32: beta C + (1 - beta) mean of u.T u over views and all ranks' images, u = n(z).

    A second moment: no mean is taken off. The same on every rank.
    """
    u = unit_rows(z).flatten(0, 1)
    # Autocast would take the product to bf16.
    with torch.autocast(z.device.type, enabled=False):
        moment = all_reduce_(u.T @ u / len(u), "mean").to(covariance)
    return covariance.lerp(moment, 1 - beta)


def tico_loss(
    z: torch.Tensor,  # [V, B, D] any float - projections, global views first
    targets: torch.Tensor,  # [G, B, D] any float - of the moving average, without gradient
    covariance: torch.Tensor,  # [D, D] float32 - C, this step's rows among it, without gradient
    rho: float = 8.0,
) -> torch.Tensor:
    """The sum below over this rank's images, [] float32; rho when all rows are and were the same.

    u = n(z), t = n(targets)
    1 - mean(u[v, b] . t[g, b] for b, v, g if v != g) + rho mean(u[v, b] C u[v, b] for v, b)

    Zhu et al. 2022, 2206.10698. Two views: the mean of both directions of the one that lightly and
    sayannag/TiCo-pytorch take. C has no gradient, as in lightly; the other one leaves it to B.
    """
    u = unit_rows(z)
    with torch.autocast(z.device.type, enabled=False):
        contrast = ((u @ covariance.to(u)) * u).sum(-1).mean()
    return 1 - pair_cosine(z, targets) + rho * contrast
