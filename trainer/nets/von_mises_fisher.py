"""Samples of a von Mises-Fisher distribution: unit rows around a mean, with a gradient for it.

    density(z) ~ exp(kappa <mu, z>) on the unit sphere of D dimensions

Wood 1994, "Simulation of the von Mises Fisher distribution", as TensorFlow Probability has it
(von_mises_fisher.py): the cosine w with the mean by rejection, all directions across it alike. What
is drawn lies around the first axis and depends on no mean, so the host draws it, in float64; then
a reflection takes the axis to the mean, and only this carries a gradient.

Legend: D dimensions, A attempts.
"""

import math

import numpy as np
import torch

from augengine.devices.streams import upload
from trainer.checks import require
from trainer.losses.cosine import unit_rows
from trainer.nets.view_noise import Draw, Use, normals

MIN_DIM = 3
_ATTEMPTS = 8  # at first: more than half of them are accepted, at every kappa and D


def vmf_sample(
    mean: torch.Tensor,  # [..., D] any float - of any length
    kappa: float,  # concentration
    draw: Draw,  # numbers for every row: [..., count]
) -> torch.Tensor:
    """[..., D] a unit row for each mean, in float32 (float64 stays); no gradient for `draw`."""
    mu = unit_rows(mean)
    x = torch.from_numpy(around_first_axis(kappa, mean.shape[-1], draw)).to(mu.dtype)
    return turn_first_axis(mu, upload(x, mu.device))


def around_first_axis(kappa: float, dim: int, draw: Draw) -> np.ndarray:
    """[..., D] float64 unit rows, samples for the mean (1, 0, ..., 0)."""
    rule = f"a von Mises-Fisher distribution is sampled in {MIN_DIM} dimensions or more"
    require(dim >= MIN_DIM, rule, dim, "raise method.out_dim")
    w = _cosines(kappa, dim, draw)[..., None]
    across = normals(draw, Use.VMF_DIRECTION, dim - 1)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    return np.concatenate([w, np.sqrt(1 - w * w) * across], -1)


def turn_first_axis(
    mu: torch.Tensor,  # [..., D] unit rows
    rows: torch.Tensor,  # [..., D] - around the first axis
) -> torch.Tensor:
    """[..., D]: each row reflected so that the first axis falls on mu.

    Along mu - e or, with a change of sign, along mu + e, whichever is longer: at least sqrt 2, so
    that mu = e and mu = -e are no special cases.
    """
    first = mu[..., :1]
    sign = torch.where(first < 0, -1.0, 1.0).to(mu.dtype)
    along = torch.cat([first + sign, mu[..., 1:]], -1)
    # Elementwise: autocast leaves it alone.
    share = (along * rows).sum(-1, keepdim=True) / (1 + first.abs())
    return sign * (along * share - rows)


def _cosines(kappa: float, dim: int, draw: Draw) -> np.ndarray:
    """[...]: the first attempt of each row that Wood's test accepts."""
    b = (dim - 1) / (2 * kappa + math.hypot(2 * kappa, dim - 1))
    x0 = (1 - b) / (1 + b)
    c = kappa * x0 + (dim - 1) * math.log1p(-x0 * x0)
    attempts = _ATTEMPTS
    while True:
        numbers = draw(Use.VMF_COSINE, 3 * attempts)
        radius, angle, chance = np.moveaxis(numbers.reshape(*numbers.shape[:-1], -1, 3), -1, 0)
        # The first coordinate of a uniform direction: 2 z - 1 for z ~ Beta((D - 1) / 2) of both
        # kinds (Ulrich 1984). One less a number is never 0.
        t = np.sqrt(1 - (1 - radius) ** (2 / (dim - 2))) * np.cos(2 * math.pi * angle)
        z = (1 + t) / 2
        w = (1 - (1 + b) * z) / (1 - (1 - b) * z)
        is_taken = kappa * w + (dim - 1) * np.log(1 - x0 * w) - c >= np.log(1 - chance)  # [..., A]
        if is_taken.any(-1).all():
            return np.take_along_axis(w, is_taken.argmax(-1)[..., None], -1)[..., 0]
        attempts *= 2
