"""TiCo against the loss of others' code, and what its covariance holds."""

import copy

import torch
from torch.nn import functional as F

from trainer.methods.protocol import Progress
from trainer.methods.tico import Settings, TiCo

START = Progress(0, 100, 10)


def toy(make_backbone, **changes: float) -> TiCo:
    backbone = make_backbone()
    torch.manual_seed(1)
    return TiCo(backbone, Settings(hidden_dim=32, out_dim=8, **changes))


def one_direction(online: torch.Tensor, target: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """1 - mean <u, t> + rho mean (u C) u, rows of length 1."""
    u, t = F.normalize(online, dim=1), F.normalize(target, dim=1)
    return 1 - (u * t).sum(1).mean() + 8 * ((u @ c) * u).sum(1).mean()


def test_two_views_are_both_directions(make_backbone, make_views) -> None:
    """Their mean, with separate forwards and one covariance of both; gradients are equal too."""
    method, views = toy(make_backbone), make_views()
    twin = copy.deepcopy(method)
    x, y = (twin.projector(twin.backbone(image)) for image in views.crops[0])
    targets = [twin.target_projector(twin.target_backbone(image)) for image in views.crops[0]]
    u = F.normalize(torch.cat([x, y]), dim=1).detach()
    c = 0.1 * u.T @ u / len(u)
    theirs = (one_direction(x, targets[1], c) + one_direction(y, targets[0], c)) / 2
    ours = method.step(views, START).loss
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(method.covariance, c)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        if p.requires_grad:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_the_covariance_forgets(make_backbone, make_views) -> None:
    """Its trace, of unit rows, grows to 1 by the share that a step takes in."""
    method = toy(make_backbone, beta=0.75)
    for step in range(1, 4):
        method.step(make_views((2, 2), seed=step), START)
        torch.testing.assert_close(method.covariance.trace(), torch.tensor(1 - 0.75**step))


def test_the_target_follows(make_backbone, make_views) -> None:
    """Momentum 1 leaves it, 0 makes it the online network."""
    for momentum, expected in ((1.0, 0.0), (0.0, 1.0)):
        method = toy(make_backbone, momentum=momentum)
        (weight,) = (p for n, p in method.projector.named_parameters() if n == "0.weight")
        with torch.no_grad():
            weight += 1
        method.after_step(START)
        moved = method.target_projector.get_parameter("0.weight") - (weight - 1)
        torch.testing.assert_close(moved, torch.full_like(moved, expected))
