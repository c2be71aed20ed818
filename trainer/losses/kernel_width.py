"""SSL-HSIC's second loss: the kernel is as wide as distances are told apart best.

Losses/hsic.py takes the width c as given; here c follows the rows, by Adam at a rate of its own.

Legend: R rows, D features.
"""

import torch

from trainer.losses.cosine import unit_rows

_BETAS, _EPS = (0.9, 0.999), 1e-8


def width_slope(
    rows: torch.Tensor,  # [R, D] any float
    width: torch.Tensor,  # [] float32 - c
) -> torch.Tensor:
    """The slope of the loss in the width, [] float32; no gradient.

    u = n(rows), d2[i, j] = |u[i] - u[j]|^2, k[i, j] = c / sqrt(c^2 + d2[i, j])
    loss = -mean over i, j of log |d k[i, j] / d d2[i, j]|
    d loss / d c = mean over i, j of 3 c / (c^2 + d2[i, j]) - 1 / c

    0 at c = 1 when all rows are at right angles to each other, but for those with themselves. Li et
    al. 2021, 2106.08320; ssl_hsic/kernels.py `HSICLoss.__call__`, which draws pairs of rows.
    """
    u = unit_rows(rows.detach())
    # Autocast would take the product to bf16.
    with torch.autocast(u.device.type, enabled=False):
        distances = (2 - 2 * (u @ u.T)).clamp_min(0)
    return (3 * width / (width**2 + distances)).mean() - 1 / width


def follow_slope(
    width: torch.Tensor,  # [] float32 - changed in place
    moments: torch.Tensor,  # [3] float32 - of slope and its square, and steps; changed in place
    slope: torch.Tensor,  # []
    rate: float,
) -> None:
    """One step of Adam (Kingma and Ba 2014, 1412.6980) with the code's decays."""
    first, second, steps = moments.unbind()
    steps += 1
    first.lerp_(slope, 1 - _BETAS[0])
    second.lerp_(slope.square(), 1 - _BETAS[1])
    mean, square = first / (1 - _BETAS[0] ** steps), second / (1 - _BETAS[1] ** steps)
    width -= rate * mean / (square.sqrt() + _EPS)
