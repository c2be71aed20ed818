"""DSSL: heavily augmented views follow the views that they were made of, never the other way.

Bai et al. 2022, 2110.13555; github.com/Yif-Yang/DSSL (e342b33), simsiam_imagenet/main_simsiam.py,
simsiam_cifar10/main.py and byol_harder-aug_imagenet/byol/byol.py. A heavy view (policy.heavy) is no
pair of another heavy one, of which it may have nothing in common: it only predicts its own source.
The method's loss is that of the standard views alone. Batch statistics are a view's own, as in the
code's separate forwards.

The code has SimSiam and BYOL. The rest is our generalisation: what predicts is the method's
predictor or else its projector, and the target is its momentum network's projection or else its
own. MoCo's momentum network, which sees shuffled images, is no target.

Legend: H heavy views, B images, D features.
"""

from dataclasses import dataclass

import torch

from augengine.policy import Policy
from trainer.checks import require
from trainer.losses.cosine import unit_rows
from trainer.nets.multicrop import forward_views
from trainer.settings.bounds import Bounded, Share
from trainer.terms.term import Seen, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The paper's ImageNet form; its CIFAR-10 runs had 0.1."""

    reverse: Share = 0.0  # share of the other direction: sources predict their heavy views


class DSSL(Term):
    """No layers of its own: it runs the method's on the heavy views."""

    needs = ("projections",)
    takes = ("predictions", "momentum_projections")
    takes_heavy = True
    min_global_views = 1

    def __init__(self, settings: Settings, policy: Policy) -> None:
        super().__init__()
        remedy = "add policy.heavy={randaugment: {num_ops: 2, magnitude: 9}}"
        require(policy.heavy is not None, "dssl is about heavy views", policy.name, remedy)
        self.settings = settings

    def forward(self, seen: Seen) -> torch.Tensor:
        """The mean over heavy views and images of -cos(prediction, target)."""
        heavy, plan = seen.views.heavy, seen.views.plan.heavy
        assert heavy is not None
        assert plan is not None
        columns, own = seen.columns[: seen.num_global], seen.parts["projections"]
        targets = seen.parts.get("momentum_projections", own[: seen.num_global])
        momentum = "momentum_projections" in seen.parts
        # Those whose source the trained network saw and has a target: of a one-sided MoCo the
        # first view alone.
        sources = [v for v in plan.source.tolist() if v in columns]
        rows = [h for h, v in enumerate(plan.source.tolist()) if v in sources]
        seen_rows, crops = [columns.index(v) for v in sources], heavy[rows]
        z = _run(seen, ("features", "projections"), crops)
        p = _run(seen, ("predictions",), z) if "predictions" in seen.networks else z
        loss = _apart(p, targets[sources if momentum else seen_rows])
        share = self.settings.reverse
        if share:
            standard = seen.parts.get("predictions", own)[seen_rows]
            loss = (1 - share) * loss + share * _apart(
                standard, self._heavy_targets(seen, crops, z)
            )
        return loss

    def _heavy_targets(self, seen: Seen, crops: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """[H, B, D]: what the targets' network says of heavy views."""
        if "momentum_projections" not in seen.parts:
            return z
        with torch.no_grad():
            return _run(seen, ("momentum_features", "momentum_projections"), crops)


def _run(seen: Seen, parts: tuple[str, ...], x: torch.Tensor) -> torch.Tensor:
    """[H, B, D]: the method's networks one after the other, each view with its own statistics."""
    for part in parts:
        x = forward_views(seen.networks[part], x, per_view=True)
    return x


def _apart(
    predictions: torch.Tensor,  # [H, B, D] any float
    targets: torch.Tensor,  # [H, B, D] any float - without gradient from here
) -> torch.Tensor:
    """The mean of -cos over views and images, in [-1, 1]."""
    return -(unit_rows(predictions) * unit_rows(targets.detach())).sum(-1).mean()
