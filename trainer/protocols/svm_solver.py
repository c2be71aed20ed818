"""One-vs-all linear SVMs with squared hinge, all classes at once, and a bound on what is missing.

    minimise over w:  1/2 |w|^2 + C sum_i max(0, 1 - y_i w x_i)^2

for each class, with a constant 1 appended to x (its weight, the bias, is penalised too): the
problem of LIBLINEAR with intercept_scaling 1, as VISSL has it. The loss is smooth, so L-BFGS solves
it; the dual value that the slacks give is a lower bound of the optimum, and their difference, the
duality gap, says how far away the answer can be at most.

Legend: N images, D features, K classes.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from trainer.optim.uncompiled import LBFGS

GAP = 1e-3  # of the objective: a fit ends when no class is farther from its optimum
MAX_ITERATIONS = 2000
_A_LOOK = 50


@dataclass(frozen=True, slots=True)
class Svm:
    """The maps of all classes, and how exact they are."""

    weight: torch.Tensor  # [K, D] float64
    bias: torch.Tensor  # [K] float64
    gap: float  # of the worst class: (primal - dual) / primal

    def predict(
        self,
        features: torch.Tensor,  # [M, D] float
    ) -> torch.Tensor:
        """[M] int64 - the class of the highest score."""
        return (features.double() @ self.weight.T + self.bias).argmax(dim=1)


def fit_svm(
    features: torch.Tensor,  # [N, D] float
    labels: torch.Tensor,  # [N] int64 in [0, K)
    num_classes: int,
    cost: float,  # C
    *,
    start: Svm | None = None,  # of a near cost
    tolerance: float = GAP,
) -> Svm:
    """Fit until the duality gap of every class is below the tolerance, or iterations are spent."""
    x = F.pad(features.double(), (0, 1), value=1.0)  # [N, D + 1]
    signs = 2.0 * F.one_hot(labels, num_classes).T.double() - 1.0  # [K, N]
    weight = torch.zeros(num_classes, x.shape[1], dtype=torch.float64, device=x.device)
    if start is not None:
        weight = torch.cat([start.weight, start.bias[:, None]], dim=1)
    weight = weight.clone().requires_grad_()
    optimizer = LBFGS(
        [weight],
        max_iter=_A_LOOK,
        history_size=20,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        # Divided by C, so that a step's length does not depend on it.
        loss = _primal(weight, x, signs, cost).sum() / cost
        loss.backward()
        return loss

    gap = float("inf")
    with torch.enable_grad():
        for _ in range(0, MAX_ITERATIONS, _A_LOOK):
            optimizer.step(closure)
            last, gap = gap, duality_gap(weight.detach(), x, signs, cost)
            # Where no gain is left in float64, more of the same gives none.
            if gap < tolerance or gap == last:
                break
    found = weight.detach()
    return Svm(found[:, :-1], found[:, -1], gap)


@torch.no_grad()
def duality_gap(
    weight: torch.Tensor,  # [K, D + 1] float64
    x: torch.Tensor,  # [N, D + 1] float64 - features and a constant
    signs: torch.Tensor,  # [K, N] float64 - 1 of the class, -1 of the others
    cost: float,
) -> float:
    """(primal - dual) / primal of the worst class; 0 at the optimum, never below but for rounding.

    Slacks s = max(0, 1 - y w x) give the dual point a = 2 C s, scaled to the best of its ray:
    dual(t a) = t sum a - t^2 (1/2 |sum a y x|^2 + |a|^2 / (4 C)).
    """
    slack = (1 - signs * (weight @ x.T)).clamp(min=0)  # [K, N]
    alpha = 2 * cost * slack
    primal = _primal(weight, x, signs, cost)  # [K]
    linear = alpha.sum(dim=1)
    square = ((alpha * signs) @ x).square().sum(dim=1) / 2 + alpha.square().sum(dim=1) / (4 * cost)
    dual = torch.where(square > 0, linear.square() / (4 * square), torch.zeros_like(square))
    return float(((primal - dual) / primal.clamp(min=1e-300)).max())


def _primal(
    weight: torch.Tensor, x: torch.Tensor, signs: torch.Tensor, cost: float
) -> torch.Tensor:
    """The objective of each class [K]."""
    slack = (1 - signs * (weight @ x.T)).clamp(min=0)
    return weight.square().sum(dim=1) / 2 + cost * slack.square().sum(dim=1)
