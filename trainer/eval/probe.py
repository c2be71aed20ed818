"""A linear probe: how much of the classes a linear map can read off frozen features.

Protocol (print it beside the number): features standardised with the training set's mean and std,
so that one setting serves every method (their feature scales differ by orders of magnitude);
multinomial logistic regression by L-BFGS, until ten iterations lower the loss by less than
`TOLERANCE` of it; the L2 strength chosen from `STRENGTHS` on a held-out tenth of the training
features, then refitted on all of them. Fits go from the strongest to the weakest, each from the one
before: it is near, and the last ones are the slow ones. No augmentation. The transfer protocol of
SimCLR and BYOL (arXiv 2002.05709, B.8); a probe with augmented views scores a few points higher on
ImageNet.

Legend: N training features, M test features, D feature width, K classes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from trainer.optim.uncompiled import LBFGS

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
PROTOCOL = (
    "standardised features, logistic regression (L-BFGS until ten iterations gain under 0.01 %), "
    "L2 chosen on a held-out tenth"
)
TOLERANCE = 1e-4  # of the loss, in so many iterations:
ITERATIONS_A_LOOK = 10
MAX_ITERATIONS = 200
SEARCH_SHARE = 0.7  # of the time at most goes to the choice, the rest is the last fit's

Map = tuple[torch.Tensor, torch.Tensor]  # weight [K, D], bias [K]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe's score and the strength that was chosen for it."""

    accuracy: float  # top-1 on the test features, in [0, 1]
    per_class: float  # the mean over the test classes of each one's top-1
    l2: float
    is_cut: bool  # by the time given: weaker strengths left out, or the last fit not done
    # Other features [M, D] to class numbers [M], by the same map.
    predict: Callable[[torch.Tensor], torch.Tensor] = field(compare=False, repr=False)


def linear_probe(
    train: torch.Tensor,  # [N, D] float
    train_labels: torch.Tensor,  # [N] int64 - classes, any K different numbers
    test: torch.Tensor,  # [M, D] float
    test_labels: torch.Tensor,  # [M] int64
    *,
    seed: int = 0,
    seconds: float = float("inf"),  # of fitting, at most, but for ten iterations
    on_look: Callable[[float], None] = lambda done: None,  # share done, at most
) -> ProbeResult:
    """Fit on the training features, score on the test features; the test labels choose nothing."""
    clock = _Clock(seconds, on_look)
    standardise = standardiser(train)
    train = standardise(train)
    # Rows of the map are for the classes that are there, whatever their numbers.
    classes, places = train_labels.unique(return_inverse=True)  # [K], [N]
    l2, near = _choose_strength(train, places, len(classes), seed, clock)
    clock.begin(len(STRENGTHS), 1.0)
    weight, bias = fit(train, places, len(classes), l2, start=near, look=clock)

    def predict(features: torch.Tensor) -> torch.Tensor:
        return classes[(standardise(features) @ weight.T + bias).argmax(dim=1)]

    is_right = (predict(test) == test_labels).float()
    by_class = [is_right[test_labels == label].mean() for label in test_labels.unique()]
    per_class = torch.stack(by_class).mean().item()
    return ProbeResult(is_right.mean().item(), per_class, l2, clock.is_over, predict)


def standardiser(
    train: torch.Tensor,  # [N, D] float
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The shift and scale that give training features the mean 0 and the variance 1."""
    mean, std = train.mean(dim=0), train.std(dim=0, correction=0)
    # A constant feature says nothing; dividing by its rounding noise would make it shout.
    scale = torch.where(std > 1e-6 * (mean.abs() + 1e-6), 1 / std, 0.0)
    return lambda features: (features - mean) * scale


class _Clock:
    """The time that a probe has, and how far it is; called after every ten iterations of a fit."""

    def __init__(self, seconds: float, on_look: Callable[[float], None]) -> None:
        self._started = time.monotonic()
        self._seconds = seconds
        self._on_look = on_look
        self._fit, self._share = 0, 1.0
        self.is_over = False  # some fit was cut

    def begin(self, fit: int, share: float) -> None:
        """The n-th fit begins; it has until this share of the time."""
        self._fit, self._share = fit, share
        self._on_look(fit / (len(STRENGTHS) + 1))

    def __call__(self, iterations: int) -> bool:
        """Whether a fit that is not done has to stop now."""
        self._on_look((self._fit + iterations / MAX_ITERATIONS) / (len(STRENGTHS) + 1))
        is_late = time.monotonic() - self._started >= self._share * self._seconds
        self.is_over |= is_late
        return is_late


def fit(
    features: torch.Tensor,  # [N, D] float - standardised
    labels: torch.Tensor,  # [N] int64
    num_classes: int,
    l2: float,
    max_iterations: int = MAX_ITERATIONS,
    *,
    start: Map | None = None,  # None: zeros
    look: Callable[[int], bool] = lambda iterations: False,  # whether to stop where it is
) -> Map:
    """Weight [K, D] and bias [K] minimising mean cross-entropy + l2 / 2 * |weight|^2."""
    shapes = (num_classes, features.shape[1]), (num_classes,)
    zeros = tuple(torch.zeros(shape, device=features.device) for shape in shapes)
    weight, bias = (t.clone().requires_grad_() for t in start or zeros)
    optimizer = LBFGS(
        [weight, bias],
        max_iter=ITERATIONS_A_LOOK,
        tolerance_grad=1e-5,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(features @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()
        loss.backward()
        return loss

    last = float("inf")
    with torch.enable_grad():
        # L-BFGS goes on where it was: ten times ten iterations are a hundred.
        for done in range(0, max_iterations, ITERATIONS_A_LOOK):
            loss = optimizer.step(closure).item()  # before these iterations
            if last - loss < TOLERANCE * loss or look(done + ITERATIONS_A_LOOK):
                break
            last = loss
    return weight.detach(), bias.detach()


def _choose_strength(
    features: torch.Tensor, labels: torch.Tensor, num_classes: int, seed: int, clock: _Clock
) -> tuple[float, Map | None]:
    """The strength, and the map that was fitted with it on nine tenths."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(features), generator=generator).to(features.device)
    held_out, rest = order[: len(order) // 10], order[len(order) // 10 :]
    if len(held_out) == 0:
        return STRENGTHS[len(STRENGTHS) // 2], None
    sets = features[rest], labels[rest], features[held_out], labels[held_out]
    best, best_score, near = STRENGTHS[-1], -1.0, None
    fitted = None
    for number, l2 in enumerate(sorted(STRENGTHS, reverse=True)):
        clock.begin(number, SEARCH_SHARE)
        fitted = fit(sets[0], sets[1], num_classes, l2, start=fitted, look=clock)
        score = _score(*fitted, *sets[2:])
        # The strongest of equally good ones: the simplest map that explains the held-out tenth.
        if score > best_score:
            best, best_score, near = l2, score, fitted
        if clock.is_over:
            break
    return best, near


def _score(
    weight: torch.Tensor, bias: torch.Tensor, features: torch.Tensor, labels: torch.Tensor
) -> float:
    return ((features @ weight.T + bias).argmax(dim=1) == labels).float().mean().item()
