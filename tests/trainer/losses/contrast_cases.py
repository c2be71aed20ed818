"""The fused contrastive losses at sizes that no tile divides, sure or not, cold or hot."""

import math
from collections.abc import Callable
from functools import partial

import torch
from loss_cases import COLD, HOT, some_zero
from loss_checks import Case, rows

from trainer.losses.cosine import unit_rows
from trainer.losses.hsic import hsic_loss
from trainer.losses.info_nce import batch_info_nce, queue_info_nce
from trainer.losses.nt_xent import nt_xent_loss


def nt_xent(
    impl: str, z: torch.Tensor, num_targets: int = 2, temperature: float = 0.1
) -> torch.Tensor:
    return nt_xent_loss(z, num_targets, temperature, impl)


def nt_xent_case(z: Callable[[], torch.Tensor], num_targets: int = 2, t: float = 0.1) -> Case:
    """Views [V, B, D]; a gradient is a difference of unit rows over t, of each row's mean."""
    num_views, num_images, dim = z().shape
    return Case(
        partial(nt_xent, num_targets=num_targets, temperature=t),
        lambda: (z(),),
        exponent=1 + 2 / t,
        term=1 / (t * num_views * num_images * dim**0.5),
    )


def near(share: float, temperature: float) -> torch.Tensor:
    """Two views of eight images, alike so that a row's positive has about this share of its sum."""
    a = torch.eye(8, 16, dtype=torch.float64)
    # exp(c / t) / (exp(c / t) + 14) of 14 candidates at right angles.
    cosine = temperature * math.log(14 * share / (1 - share))
    other = cosine * a + (1 - cosine**2) ** 0.5 * a.roll(8, dims=1)
    return torch.stack([a, other]) + rows(2, 8, 16) / 1000


NT_XENT = {
    "two views": nt_xent_case(lambda: rows(2, 5, 37)),
    "2+3 views": nt_xent_case(lambda: rows(5, 4, 19)),
    "four global views": nt_xent_case(lambda: rows(4, 3, 9), 4),
    "one target": nt_xent_case(lambda: rows(3, 18, 6), 1),
    "one image": nt_xent_case(lambda: rows(3, 1, 4)),
    "long rows": nt_xent_case(lambda: 300 * rows(2, 17, 70)),
    "zero rows": nt_xent_case(lambda: some_zero(2, 5, 6)),
    "equal rows": nt_xent_case(lambda: rows(1, 1, 33).expand(2, 19, 33)),
    "an image twice": nt_xent_case(lambda: rows(2, 3, 8).repeat(1, 2, 1)),
    "scores of 50": nt_xent_case(lambda: rows(3, 5, 7), t=0.02),
    "cold": nt_xent_case(lambda: rows(3, 5, 7), t=COLD),
    "hot": nt_xent_case(lambda: rows(3, 5, 7), t=HOT),
    "0.9 sure": nt_xent_case(lambda: near(0.9, 0.1)),
    "0.99 sure": nt_xent_case(lambda: near(0.99, 0.1)),
    "0.999 sure": nt_xent_case(lambda: near(0.999, 0.1)),
}


def queue_nce(
    impl: str,
    queries: torch.Tensor,
    keys: torch.Tensor,
    queue: torch.Tensor,
    temperature: float = 0.07,
    skip_own: bool = False,
) -> torch.Tensor:
    # A queue is of float32 whatever the queries are.
    queue = unit_rows(queue)
    return queue_info_nce(queries, keys, queue, temperature, skip_own=skip_own, impl=impl)


def queue_case(
    queries: tuple[int, int, int],
    num_keys: int,
    length: int,
    temperature: float = 0.07,
    make: Callable[..., torch.Tensor] = rows,
    **settings: bool,
) -> Case:
    """Queries [Q, B, D] and keys that are near to them, and a queue."""
    num_views, num_images, dim = queries
    return Case(
        partial(queue_nce, temperature=temperature, **settings),
        lambda: (
            make(*queries),
            make(num_views, num_images, dim)[:num_keys] + rows(num_keys, num_images, dim) / 9,
            rows(length, dim, seed=2),
        ),
        exponent=1 + 2 / temperature,
        term=1 / (temperature * num_views * num_images * dim**0.5),
    )


def sure(share: float) -> Case:
    """A key with this share of the sum, by itself among seven rows at right angles."""
    one, t = torch.eye(9, dtype=torch.float64), 0.1
    cosine = t * math.log(7 * share / (1 - share))
    key = cosine * one[:1] + (1 - cosine**2) ** 0.5 * one[8:]
    inputs = (one[None, :1] + rows(1, 1, 9) / 1000, key[None], one[1:8])
    term = 1 / (t * 3)
    return Case(partial(queue_nce, temperature=t), lambda: inputs, exponent=1 + 2 / t, term=term)


QUEUE = {
    "one view": queue_case((1, 5, 37), 1, 131),
    "four views": queue_case((4, 3, 9), 1, 40),
    "both ways": queue_case((5, 3, 6), 2, 70, skip_own=True),
    "one image": queue_case((1, 1, 4), 1, 1),
    "an empty queue": queue_case((2, 3, 4), 1, 0),
    "many rows": queue_case((2, 19, 5), 1, 17),
    "zero rows": queue_case((2, 5, 6), 1, 33, make=some_zero),
    "scores of 50": queue_case((2, 3, 7), 1, 40, 0.02),
    "cold": queue_case((2, 3, 7), 1, 40, COLD),
    "hot": queue_case((2, 3, 7), 1, 40, HOT),
    "0.9 sure": sure(0.9),
    "0.99 sure": sure(0.99),
    "0.999 sure": sure(0.999),
}


def batch_nce(
    impl: str,
    queries: torch.Tensor,
    keys: torch.Tensor,
    queue: torch.Tensor | None = None,
    temperature: float = 0.1,
) -> torch.Tensor:
    """MoCo v3's, whose queries have the gradient."""
    queue = None if queue is None else unit_rows(queue)
    return batch_info_nce(queries, keys, temperature, queue, impl)


def batch_nce_of_keys(
    impl: str, keys: torch.Tensor, queries: torch.Tensor, **settings: float
) -> torch.Tensor:
    """NNCLR's, whose keys have it."""
    return batch_nce(impl, queries, keys, **settings)


def batch_case(
    *shapes: tuple[int, ...], run: Callable[..., torch.Tensor] = batch_nce, t: float = 0.1
) -> Case:
    """What has the gradient and what it is asked by or asks [V, B, D], near to it; and a queue."""
    (num_views, num_images, dim), others = shapes[0], shapes[1:]
    return Case(
        partial(run, temperature=t),
        lambda: (
            rows(*shapes[0]),
            *(x + rows(*x.shape[1:]) for x in (rows(*s, seed=9) for s in others[:1])),
            *(rows(*s, seed=2) for s in others[1:]),
        ),
        exponent=1 + 2 / t,
        term=1 / (t * num_views * num_images * dim**0.5),
    )


BATCH = {
    "two views": batch_case((2, 5, 37), (2, 5, 37)),
    "five queries": batch_case((5, 19, 9), (2, 19, 9)),
    "a queue": batch_case((3, 4, 6), (2, 4, 6), (40, 6)),
    "an empty queue": batch_case((2, 4, 6), (2, 4, 6), (0, 6)),
    "one image": batch_case((2, 1, 3), (2, 1, 3)),
    "cold": batch_case((2, 5, 7), (2, 5, 7), t=COLD),
    "hot": batch_case((2, 5, 7), (2, 5, 7), t=HOT),
    "keys": batch_case((2, 5, 37), (2, 5, 37), run=batch_nce_of_keys),
    "five keys": batch_case((5, 19, 9), (2, 19, 9), run=batch_nce_of_keys),
    "cold keys": batch_case((2, 5, 7), (2, 5, 7), run=batch_nce_of_keys, t=COLD),
}


def hsic(impl: str, z: torch.Tensor, gamma: float = 3.0, width: float = 1.0) -> torch.Tensor:
    return hsic_loss(z, gamma, width, impl)


def hsic_case(
    *shape: int, make: Callable[..., torch.Tensor] = rows, size: float = 1.0, **settings: float
) -> Case:
    """Views [V, B, D]; a gradient is a sum of differences of sums over all rows."""
    return Case(
        partial(hsic, **settings),
        lambda: (size * make(*shape),),
        exponent=1 + 2 / settings.get("width", 1.0) ** 2,
        term=1 / (size * shape[0] * shape[1] * shape[2] ** 0.5),
    )


HSIC = {
    "two views": hsic_case(2, 5, 37),
    "four views": hsic_case(4, 9, 20),
    "one image": hsic_case(3, 1, 4),
    "long rows": hsic_case(2, 17, 70, size=300.0),
    "zero rows": hsic_case(2, 5, 6, make=some_zero),
    "narrow": hsic_case(2, 6, 7, width=0.1),
    "wide": hsic_case(2, 6, 7, width=10.0),
    "no labels": hsic_case(2, 21, 7, gamma=0.0),
}
