"""LeJEPA against the equation of its minimal example, with one weight between the terms."""

import copy

import pytest
import torch

from shards.errors import UsageError
from trainer.losses.sigreg import directions_of_step, sigreg
from trainer.methods.lejepa import LeJEPA, Settings
from trainer.methods.protocol import Progress


def toy(make_backbone, **changes: float) -> LeJEPA:
    backbone = make_backbone()
    torch.manual_seed(1)
    return LeJEPA(backbone, Settings(hidden_dim=32, out_dim=8, num_directions=16, **changes))


def test_all_global_views_are_the_minimal_example(make_backbone, make_views) -> None:
    """Four views in one forward: lambda SIGReg + (1 - lambda) mean (mean_v z - z)^2."""
    method, views = toy(make_backbone), make_views((4,))
    twin = copy.deepcopy(method)
    z = twin.projector(twin.backbone(views.crops[0].flatten(0, 1))).unflatten(0, (4, 16))
    unlike = sigreg(z, directions_of_step(7, 8, 16))
    theirs = 0.05 * unlike + 0.95 * (z.mean(0) - z).square().mean()
    ours = method.step(views, Progress(7, 100, 10)).loss
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_one_weight_lies_between_the_terms(weight: float, make_backbone, make_views) -> None:
    """The logged terms make up the loss; a weight outside [0, 1] is refused."""
    result = toy(make_backbone, sigreg=weight).step(make_views((2, 6)), Progress(0, 100, 10))
    terms = result.metrics
    total = (1 - weight) * terms["prediction"] + weight * terms["sigreg"]
    torch.testing.assert_close(result.loss, total)
    with pytest.raises(UsageError, match=r"lejepa sigreg lies in \[0, 1\]"):
        Settings(sigreg=1 + weight + 0.1)
