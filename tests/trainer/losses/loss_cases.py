"""The fused losses at sizes that no block divides, with rows that are zero, equal or huge."""

from collections.abc import Callable
from functools import partial

import torch
from loss_checks import Case, rows

from trainer.losses.barlow import barlow_loss
from trainer.losses.cosine import byol_loss, pair_cosine, simsiam_loss
from trainer.losses.dino import teacher_codes
from trainer.losses.sinkhorn import sinkhorn_codes
from trainer.losses.swapped import swapped_prediction
from trainer.losses.vicreg import vicreg_terms

COLD, HOT = 0.01, 10.0  # extremes of temperature


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


def swav(
    impl: str,
    scores: torch.Tensor,
    logits: torch.Tensor,  # whose codes are predicted: without gradient, so not those of `scores`
    queue: torch.Tensor | None = None,
    temperature: float = 0.1,
    epsilon: float = 0.05,
) -> torch.Tensor:
    """Loss and entropy in one number."""
    codes = sinkhorn_codes(logits, queue, epsilon=epsilon, impl=impl)
    return sum(swapped_prediction(scores, codes, temperature, impl))


def dino(
    impl: str,
    scores: torch.Tensor,
    logits: torch.Tensor,
    center: torch.Tensor,
    temperature: float = 0.04,
) -> torch.Tensor:
    """The same with a centred teacher's codes."""
    codes = teacher_codes(logits, center, temperature, impl)
    return sum(swapped_prediction(scores, codes, 0.1, impl))


def scores(*shape: int, seed: int = 0) -> torch.Tensor:
    """Cosines, as a head with unit rows gives them."""
    return torch.tanh(rows(*shape, seed=seed))


def certain(difference: float) -> Case:
    """A student as sure as its teacher, whose gradient is a difference of near numbers."""
    one_hot = torch.eye(5, dtype=torch.float64).expand(2, 5, 5)
    return Case(
        partial(swav, temperature=1.0, epsilon=1.0),
        lambda: (difference * one_hot + rows(2, 5, 5) / 9, difference * one_hot),
        exponent=difference,
        term=0.1,
    )


def swav_case(*shapes: tuple[int, int, int], size: float = 1.0, **settings: float) -> Case:
    """Scores, logits and possibly a queue of these shapes, in [-size, size]."""
    coldest = min(settings.values(), default=0.05)
    return Case(
        partial(swav, **settings),
        lambda: tuple(size * scores(*shape, seed=n) for n, shape in enumerate(shapes)),
        exponent=1 + 2 * size / coldest,
        term=_term(*shapes[0], settings.get("temperature", 0.1)),
    )


def _term(num_views: int, num_images: int, dim: int, temperature: float) -> float:
    """The gradient of a score, but for the difference of probabilities, of 1 / K each."""
    return 1 / (temperature * (num_views - 1) * num_images * dim)


SMALL = ((3, 4, 12), (2, 4, 12))
SWAPPED = {
    "2+3 views": swav_case((5, 3, 37), (2, 3, 37)),
    "one code": swav_case((2, 4, 9), (1, 4, 9)),
    "all codes": swav_case((4, 2, 70), (4, 2, 70)),
    "a queue": swav_case((3, 9, 11), (2, 9, 11), (2, 17, 11)),
    "one image": swav_case((3, 1, 6), (2, 1, 6)),
    "one prototype": swav_case((3, 4, 1), (2, 4, 1)),
    "scores of 50": swav_case(*SMALL, size=50.0),
    "cold": swav_case(*SMALL, temperature=COLD, epsilon=COLD),
    "hot": swav_case(*SMALL, temperature=HOT, epsilon=HOT),
    "0.9 sure": certain(3.6),
    "0.99 sure": certain(6.0),
    "0.999 sure": certain(8.3),
}


def dino_case(num_views: int, num_codes: int, dim: int, size: float = 1.0, **settings) -> Case:
    """Scores of two images, logits and a center."""
    return Case(
        partial(dino, **settings),
        lambda: (
            size * scores(num_views, 2, dim),
            size * scores(num_codes, 2, dim, seed=1),
            scores(dim) / 4,
        ),
        exponent=1 + 2 * size / settings.get("temperature", 0.04),
        term=_term(num_views, 2, dim, 0.1),
    )


DINO = {
    "2+3 views": dino_case(5, 2, 41),
    "one code": dino_case(3, 1, 19),
    "scores of 50": dino_case(3, 2, 41, size=50.0),
    "cold": dino_case(3, 2, 19, temperature=COLD),
    "hot": dino_case(3, 2, 19, temperature=HOT),
}


def barlow(impl: str, z: torch.Tensor, num_targets: int, weight: float = 0.1) -> torch.Tensor:
    """A larger weight than the paper's, so that D x D entries count."""
    return barlow_loss(z, num_targets, weight, impl)


def vicreg(impl: str, z: torch.Tensor, num_targets: int) -> torch.Tensor:
    """The three terms weighed as in the paper."""
    terms = vicreg_terms(z, num_targets, impl)
    return 25 * terms.invariance + 25 * terms.variance + terms.covariance


def features(*shape: int, spread: float = 0.7, offset: float = 0.0) -> torch.Tensor:
    """Views that agree in part; columns of several sizes, around offsets of both signs."""
    columns = torch.arange(shape[-1])
    own, common = rows(*shape), rows(*shape[1:], seed=1)
    sizes = spread * (1 + columns % 3)
    return sizes * (common + 0.5 * own) + offset * (1 - 2 * (columns % 2))


def dead_columns(*shape: int) -> torch.Tensor:
    """Of each three columns one without variance, and one without it in the first view alone."""
    z, columns = features(*shape), torch.arange(shape[-1])
    z[:, :, columns % 3 == 1] = 0.3
    z[0, :, columns % 3 == 2] = -2
    return z


def twins(*shape: int) -> torch.Tensor:
    """Every image twice."""
    z = features(*shape)
    z[:, 1::2] = z[:, : shape[1] - 1 : 2]
    return z


# Few images and many features, where images are multiplied with images, and the other way round.
MOMENTS = {
    "two views, few images": (2, lambda: features(2, 7, 75)),
    "two views, many images": (2, lambda: features(2, 75, 7)),
    "2+3 views, few images": (2, lambda: features(5, 9, 70)),
    "2+3 views, many images": (2, lambda: features(5, 70, 9)),
    "3+1 views, few images": (3, lambda: features(4, 6, 33)),
    "3+1 views, many images": (3, lambda: features(4, 67, 5)),
    "one target": (1, lambda: features(3, 8, 9)),
    "dead columns, few images": (2, lambda: dead_columns(2, 6, 35)),
    "dead columns, many images": (2, lambda: dead_columns(2, 35, 6)),
    "twins": (2, lambda: twins(2, 8, 67)),
    "offsets of 50": (2, lambda: features(3, 9, 37, offset=50.0)),
    "offsets of 50, many images": (2, lambda: features(3, 69, 11, offset=50.0)),
    "large": (2, lambda: features(2, 9, 34, spread=100.0)),
    "two images": (2, lambda: features(2, 2, 5)),
}


def of_features(
    loss: Callable[..., torch.Tensor], num_targets: int, make: Callable[[], torch.Tensor]
) -> Case:
    """A gradient is orthogonal to its column, hence a difference; means lose digits to offsets."""
    z = make()
    offset = (z.mean(1).abs() / z.std(1).clamp_min(1)).max().item()
    scale = (z.var(1, correction=0) + 1e-5).rsqrt().max().item()
    term = 2 * scale / z.shape[1]
    return Case(partial(loss, num_targets=num_targets), lambda: (z,), 1 + offset / 10, term)


BARLOW = {name: of_features(barlow, *case) for name, case in MOMENTS.items()}
VICREG = {name: of_features(vicreg, *case) for name, case in MOMENTS.items()}
