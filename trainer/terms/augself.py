"""AugSelf: of two views' features, tell how the views were made unlike each other.

Lee et al. 2021, 2111.09613; github.com/hankook/AugSelf, trainers.py and transforms.py. A method
makes features alike for all views of an image; this term keeps in them what differs: window,
colour, flip, blur. Its heads see both views' features and are thrown away after training. Only
what a task names is told: not the gray views, as published. Views beyond two are our
generalisation: the mean over all ordered pairs of global views.

Legend: B images, V global views, P = V (V - 1) ordered pairs, D features, K numbers of a task.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from augengine.plan import Plan
from augengine.policy import Policy, ViewPolicy
from trainer.checks import require
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_views
from trainer.settings.bounds import Count, NotNegative, check_bounds
from trainer.terms.term import Seen, Term

OUTPUTS = {"crop": 4, "color": 4, "flip": 1, "blur": 1}  # K
COLOURS = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Weights of the tasks: crop and colour as published, 1 each on STL-10 and 0.5 on ImageNet."""

    crop: NotNegative = 1.0
    color: NotNegative = 1.0
    flip: NotNegative = 0.0
    blur: NotNegative = 0.0
    hidden_dim: Count = 512  # of the heads' two hidden layers

    def __post_init__(self) -> None:
        check_bounds("augself", self)
        tasks = tuple(getattr(self, task) for task in OUTPUTS)
        require(any(tasks), "augself has a task with a weight", tasks, "try crop: 1.0")


class AugSelf(Term):
    """A head for each task that has a weight."""

    needs = ("features",)

    def __init__(self, settings: Settings, feature_dim: int, policy: Policy) -> None:
        super().__init__()
        self.weights = {task: getattr(settings, task) for task in OUTPUTS}
        self.weights = {task: weight for task, weight in self.weights.items() if weight}
        views = [view for group, _, view in policy.flat_views if group == 0]
        is_upright = not any(view.vflip or view.rotate90 for view in views)
        rule = "augself tells windows of views that are flipped left to right at most"
        require(is_upright, rule, policy.name, "leave policy.vflip and policy.rotate90 at 0")
        for task in self.weights:
            rule = f"augself tells {task} where {_HOW[task]} differs between a policy's views"
            holds = any(_VARIES[task](view) for view in views)
            require(holds, rule, policy.name, f"write {task}: 0, or change the policy")
        # Each colour's interval, to whose length its factors are told; 1 where none is drawn.
        widths = [max(_width(view, colour) for view in views) or 1.0 for colour in COLOURS]
        self.colour_widths = np.array(widths)  # [4]
        hidden = settings.hidden_dim
        self.heads = nn.ModuleDict(
            {
                task: mlp(
                    (2 * feature_dim, hidden, hidden, OUTPUTS[task]),
                    hidden_bias=False,
                    out_bias=True,
                )
                for task in self.weights
            }
        )

    def forward(self, seen: Seen) -> torch.Tensor:
        """The weighted sum over the tasks of their mean losses over pairs and images."""
        pairs = list(permutations(range(seen.num_global), 2))
        first, second = (list(views) for views in zip(*pairs, strict=True))
        y = seen.parts["features"]  # [V, B, D]
        both = torch.cat([y[first], y[second]], -1)  # [P, B, 2 D]
        loss = both.new_zeros((), dtype=torch.promote_types(both.dtype, torch.float32))
        for task, weight in self.weights.items():
            # One forward, and its statistics, over the pairs in both orders, as published.
            said = forward_views(self.heads[task], both, per_view=False).to(loss.dtype)
            of_views = view_numbers(task, seen.views.plan, self.colour_widths)[:, seen.columns]
            told = difference(task, of_views[:, first], of_views[:, second]).swapaxes(0, 1)
            target = torch.from_numpy(np.ascontiguousarray(told)).to(said)
            if task == "flip":
                loss = loss + weight * F.binary_cross_entropy_with_logits(said, target)
            else:
                loss = loss + weight * F.mse_loss(said.tanh(), target)
        return loss


def view_numbers(
    task: str,
    plan: Plan,
    colour_widths: np.ndarray,  # [4] float64 - lengths of the intervals of COLOURS
) -> np.ndarray:
    """[B, V, K] float64: what a task wants to know of each view; colours in [-1/2, 1/2]."""
    if task == "crop":
        return _window(plan)
    if task == "color":
        factors = [plan.brightness - 1.0, plan.contrast - 1.0, plan.saturation - 1.0, plan.hue]
        return np.stack(factors, -1).astype(np.float64) / colour_widths
    return (plan.flip if task == "flip" else plan.sigma)[..., None].astype(np.float64)


def difference(task: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What a head has to say of two views: how much more the first has; flip: 1 if alike."""
    return (first == second).astype(np.float64) if task == "flip" else first - second


def _window(plan: Plan) -> np.ndarray:
    """[B, V, 4] in shares of the image: centre down and across as the view shows it, sides."""
    height, width = (plan.image_sizes[:, None, i].astype(np.float64) for i in (0, 1))  # [B, 1]
    top, left, tall, wide = np.moveaxis(plan.window.astype(np.float64), -1, 0)  # [B, V]
    down, across = (top + tall / 2) / height, (left + wide / 2) / width
    return np.stack(
        [down, np.where(plan.flip, 1 - across, across), tall / height, wide / width], -1
    )


def _width(view: ViewPolicy, colour: str) -> float:
    """The length of the interval that the colour's factor is drawn from."""
    strength = getattr(view, colour) if view.jitter else 0.0
    return 2 * strength if colour == "hue" else 1 + strength - max(0.0, 1 - strength)


_HOW = {"crop": "the window", "color": "jitter", "flip": "flip", "blur": "blur"}
_VARIES: dict[str, Callable[[ViewPolicy], bool]] = {
    "crop": lambda view: view.scale != (1, 1) or view.ratio != (1, 1),
    "color": lambda view: any(_width(view, colour) > 0 for colour in COLOURS),
    "flip": lambda view: 0 < view.flip < 1,
    "blur": lambda view: view.blur > 0,
}
