"""W-MSE against its code: parts of the batch, every view of a part whitened apart."""

import copy

import pytest
import torch
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.losses.whitening import partitions_of_step
from trainer.methods.protocol import Progress
from trainer.methods.wmse import WMSE, Settings


def toy(make_backbone, **changes: int) -> WMSE:
    backbone = make_backbone()
    torch.manual_seed(1)
    return WMSE(backbone, Settings(hidden_dim=32, out_dim=3, sub_batch=8, **changes))


def whitened(h: torch.Tensor) -> torch.Tensor:
    """The code's layer."""
    factor = torch.linalg.cholesky(torch.cov(h.T))
    return torch.linalg.solve_triangular(factor, (h - h.mean(0)).T, upper=False).T


@pytest.mark.parametrize("iterations", [1, 2])
def test_views_are_the_codes(iterations: int, make_backbone, make_views) -> None:
    """The mean of 2 - 2 cos over all pairs of three views and over partitions of the step."""
    method, views = toy(make_backbone, iterations=iterations), make_views((3,))
    twin = copy.deepcopy(method)
    features = torch.cat([twin.backbone(image) for image in views.crops[0]])
    h = twin.projector(features).double().unflatten(0, (3, 16))
    losses = []
    for order in partitions_of_step(7, 16, iterations):
        z = torch.empty_like(h)
        for part in order.view(2, 8):
            for view in range(3):
                z[view, part] = whitened(h[view, part])
        z = F.normalize(z, dim=-1)
        losses += [2 - 2 * (z[i] * z[j]).sum(-1).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    ours, theirs = method.step(views, Progress(7, 100, 10)).loss, torch.stack(losses).mean()
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-2, atol=1e-4, msg=name)


def test_a_step_draws_its_own_parts(make_backbone, make_views) -> None:
    """The same step twice has the same loss, another step of the same views another."""
    method, views = toy(make_backbone), make_views()
    losses = [method.step(views, Progress(step, 100, 10)).loss for step in (3, 3, 4)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_too_few_images_are_refused(make_backbone) -> None:
    """For a part, and for a covariance of the features."""
    with pytest.raises(UsageError, match="wmse whitens sub_batch images of the 7 of a step"):
        toy(make_backbone).check_images(7)
    toy(make_backbone).check_images(8)
    with pytest.raises(UsageError, match=r"wmse sub_batch is larger than out_dim, 64.*try 128"):
        Settings(sub_batch=64)
