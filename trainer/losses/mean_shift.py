"""Mean shift: a prediction moves towards the mean of its target's nearest neighbours.

Legend: Q views of predictions, B images, N neighbours of each, D features.
"""

import torch

from trainer.losses.cosine import unit_rows


def mean_shift_loss(
    predictions: torch.Tensor,  # [Q, B, D] any float
    neighbours: torch.Tensor,  # [B, N, D] float32 - unit rows, without gradient
) -> torch.Tensor:
    """Mean squared distance over views, images and neighbours, [] float32 in [0, 4].

    p = n(predictions)
    mean(|p[q, b] - neighbours[b, n]|^2 for q, b, n)  with  |a - b|^2 = 2 - 2 <a, b> of unit rows

    With one neighbour, the target itself, it is one direction of BYOL.
    Koohpayegani et al. 2021, 2105.07269, eq. 1; MSF, train_msf.py `MeanShift.forward`.
    """
    # Linear in the neighbours, so that their mean stands for them.
    towards = neighbours.mean(dim=-2)
    return 2 - 2 * (unit_rows(predictions) * towards).sum(-1).mean()
