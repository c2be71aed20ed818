"""A linear probe: how much of the classes a linear map can read off frozen features.

Protocol (print it beside the number): features standardised with the training set's mean and std,
so that one setting serves every method (their feature scales differ by orders of magnitude);
multinomial logistic regression by L-BFGS to convergence; the L2 strength chosen from `STRENGTHS`
on a held-out tenth of the training features, then refitted on all of them. No augmentation. The
transfer protocol of SimCLR and BYOL (arXiv 2002.05709, B.8); a probe with augmented views scores a
few points higher on ImageNet.

Legend: N training features, M test features, D feature width, K classes.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
PROTOCOL = "standardised features, logistic regression (L-BFGS), L2 chosen on a held-out tenth"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe's score and the strength that was chosen for it."""

    accuracy: float  # top-1 on the test features, in [0, 1]
    l2: float


def linear_probe(
    train: torch.Tensor,  # [N, D] float
    train_labels: torch.Tensor,  # [N] int64 - classes, any K different numbers
    test: torch.Tensor,  # [M, D] float
    test_labels: torch.Tensor,  # [M] int64
    *,
    seed: int = 0,
) -> ProbeResult:
    """Fit on the training features, score on the test features; the test labels choose nothing."""
    mean, std = train.mean(dim=0), train.std(dim=0, correction=0)
    # A constant feature says nothing; dividing by its rounding noise would make it shout.
    scale = torch.where(std > 1e-6 * (mean.abs() + 1e-6), 1 / std, 0.0)
    train, test = (train - mean) * scale, (test - mean) * scale
    # Rows of the map are for the classes that are there, whatever their numbers.
    classes, places = train_labels.unique(return_inverse=True)  # [K], [N]
    l2 = _choose_strength(train, places, len(classes), seed)
    weight, bias = fit(train, places, len(classes), l2)
    predicted = classes[(test @ weight.T + bias).argmax(dim=1)]
    return ProbeResult((predicted == test_labels).float().mean().item(), l2)


def fit(
    features: torch.Tensor,  # [N, D] float - standardised
    labels: torch.Tensor,  # [N] int64
    num_classes: int,
    l2: float,
    max_iterations: int = 200,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight [K, D] and bias [K] minimising mean cross-entropy + l2 / 2 * |weight|^2."""
    weight = torch.zeros(num_classes, features.shape[1], device=features.device, requires_grad=True)
    bias = torch.zeros(num_classes, device=features.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=max_iterations, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(features @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return weight.detach(), bias.detach()


def _choose_strength(
    features: torch.Tensor, labels: torch.Tensor, num_classes: int, seed: int
) -> float:
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(features), generator=generator).to(features.device)
    held_out, rest = order[: len(order) // 10], order[len(order) // 10 :]
    if len(held_out) == 0:
        return STRENGTHS[len(STRENGTHS) // 2]
    scores = []
    for l2 in STRENGTHS:
        weight, bias = fit(features[rest], labels[rest], num_classes, l2)
        scores.append(_score(weight, bias, features[held_out], labels[held_out]))
    # The strongest of equally good ones: the simplest map that explains the held-out tenth.
    best = max(range(len(scores)), key=lambda i: (scores[i], STRENGTHS[i]))
    return STRENGTHS[best]


def _score(
    weight: torch.Tensor, bias: torch.Tensor, features: torch.Tensor, labels: torch.Tensor
) -> float:
    return ((features @ weight.T + bias).argmax(dim=1) == labels).float().mean().item()
