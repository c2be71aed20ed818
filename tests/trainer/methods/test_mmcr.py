"""MMCR against its code: centroids of both networks over all views, by singular values."""

import copy

import pytest
import torch
from torch.nn import functional as F

from trainer.methods.mmcr import MMCR, Settings
from trainer.methods.protocol import Progress

START = Progress(0, 100, 10)


def toy(make_backbone, **changes: float | None) -> MMCR:
    backbone = make_backbone()
    torch.manual_seed(1)
    return MMCR(backbone, Settings(hidden_dim=32, out_dim=8, **changes))


@pytest.mark.parametrize("momentum", [0.9, None])
def test_all_global_views_are_the_codes(momentum, make_backbone, make_views) -> None:
    """One forward of all views, rows of length 1, the mean of both networks' means."""
    method, views = toy(make_backbone, momentum=momentum), make_views((4,))
    twin = copy.deepcopy(method)
    flat = views.crops[0].flatten(0, 1)
    centroids = F.normalize(twin.projector(twin.backbone(flat)), dim=1).unflatten(0, (4, 16))
    centroids = centroids.mean(0)
    if momentum is not None:
        z = F.normalize(twin.target_projector(twin.target_backbone(flat)), dim=1)
        centroids = (centroids + z.detach().unflatten(0, (4, 16)).mean(0)) / 2
    ours, theirs = method.step(views, START).loss, -torch.linalg.svdvals(centroids).sum()
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.named_parameters(), strict=True):
        if p.requires_grad:
            torch.testing.assert_close(p.grad, q[1].grad, rtol=1e-3, atol=1e-5, msg=name)


def test_the_target_is_a_choice(make_backbone, make_views) -> None:
    """Without one the method has no second network, and after a step nothing moves."""
    method = toy(make_backbone, momentum=None)
    assert not any(name.startswith("target_") for name in method.state_dict())
    method.after_step(START)
    method = toy(make_backbone, momentum=0.0)
    with torch.no_grad():
        method.projector.get_parameter("0.weight").add_(1)
    method.after_step(START)
    moved = method.target_projector.get_parameter("0.weight")
    torch.testing.assert_close(moved, method.projector.get_parameter("0.weight"))


def test_views_that_spread_cost(make_backbone, make_views) -> None:
    """The second term has its weight: the loss is linear in it, and grows."""
    losses = [toy(make_backbone, local=w).step(make_views(), START).loss for w in (0.0, 1.0, 2.0)]
    torch.testing.assert_close(losses[1] - losses[0], losses[2] - losses[1], rtol=1e-4, atol=1e-5)
    assert losses[1] > losses[0] + 1
