"""VIbCReg's covariance term: no two features vary together, whatever the scale of each.

Legend: V views, N images of all ranks, D features.
"""

import torch

from trainer.losses.cosine import unit_rows
from trainer.losses.vicreg import covariance


def correlation(
    z: torch.Tensor,  # [V, N, D] any float
) -> torch.Tensor:
    """Twice the mean over views of sum_{i != j} R_ij^2 / D^2, R the correlations; [] float32.

    VICReg's term of columns of variance 1, by D once more; a column that is constant correlates
    with none. Two views: the sum of the code's two means. Lee and Aune 2021, 2109.00783;
    github.com/ML4ITS/vibcreg, losses/covariance_loss.py.
    """
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    columns = unit_rows((z - z.mean(dim=1, keepdim=True)).mT).mT
    return covariance(columns * max(1, z.shape[1] - 1) ** 0.5) / z.shape[2]
