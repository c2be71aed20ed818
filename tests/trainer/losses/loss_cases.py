"""The fused losses at sizes that no block divides, with rows that are zero, equal or huge."""

import torch
from loss_checks import Case, rows

from trainer.losses.cosine import byol_loss, pair_cosine, simsiam_loss


def byol(impl: str, p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return byol_loss(p, z, impl)


def simsiam(impl: str, p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return simsiam_loss(p, z, impl)


def some_zero(*shape: int, seed: int = 0) -> torch.Tensor:
    """Rows of which every second is 0."""
    return rows(*shape, seed=seed) * (torch.arange(shape[-2]) % 2)[:, None]


def weighed(impl: str, p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """As under a loss scale."""
    return 1024 * pair_cosine(p, z, impl)


COSINE = {
    "two views": Case(byol, lambda: (rows(2, 5, 37), rows(2, 5, 37, seed=1))),
    "2+3 views": Case(simsiam, lambda: (rows(5, 3, 70), rows(2, 3, 70, seed=1))),
    "one target": Case(weighed, lambda: (rows(3, 4, 9), rows(1, 4, 9, seed=1))),
    "one image": Case(byol, lambda: (rows(2, 1, 2), rows(2, 1, 2, seed=1))),
    "long rows": Case(byol, lambda: (300 * rows(2, 3, 130), 300 * rows(2, 3, 130, seed=1))),
    "zero rows": Case(byol, lambda: (some_zero(2, 5, 6), some_zero(2, 5, 6, seed=1))),
    "equal rows": Case(byol, lambda: (rows(1, 3, 33).expand(2, 3, 33), rows(2, 3, 33))),
}
