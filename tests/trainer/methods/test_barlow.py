"""Barlow Twins against its paper, forward by forward."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.losses.barlow import barlow_loss
from trainer.methods.barlow import BarlowTwins, Settings
from trainer.methods.protocol import Method, Progress
from trainer.optim.create_optimizer import build_optimizer, set_schedules
from trainer.recipes.recipe import read_recipe, resolve

START = Progress(0, 100, 10)
PAPERS_GPUS = 32


@pytest.fixture
def barlow(make_backbone) -> BarlowTwins:
    backbone = make_backbone()
    torch.manual_seed(1)
    return BarlowTwins(backbone, Settings(hidden_dim=32, out_dim=8))


def paper_loss(method: BarlowTwins, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
    """The algorithm of the paper with the code's batch norm: every view forwarded on its own."""
    z1, z2 = (method.projector(method.backbone(x)) for x in (x1, x2))
    c = F.batch_norm(z1, None, None, training=True).T @ F.batch_norm(z2, None, None, training=True)
    c = c / len(x1)
    difference = (c - torch.eye(8)).square()
    weights = torch.full((8, 8), 0.0051).fill_diagonal_(1)
    return (difference * weights).sum()


def test_two_views_are_the_papers_separate_forwards(barlow: BarlowTwins, make_views) -> None:
    """Loss and gradients equal a transcription of the paper."""
    views = make_views()
    twin = copy.deepcopy(barlow)
    ours, theirs = barlow.step(views, START).loss, paper_loss(twin, *views.crops[0])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(barlow.named_parameters(), twin.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_local_views_meet_global_ones_only(barlow: BarlowTwins, make_views) -> None:
    """2+2: the mean over the pair of global views, twice, and four pairs of local and global."""
    views = make_views((2, 2))
    crops = [crop for group in views.crops for crop in group]
    # The projector's statistics are per view, so each pair can be forwarded by itself.
    pairs = [(0, 1), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1)]
    losses = [paper_loss(barlow, crops[v], crops[g]) for v, g in pairs]
    loss = barlow.step(views, START).loss
    torch.testing.assert_close(loss, torch.stack(losses).mean(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("world", [2, 4])
def test_the_codes_gradient_is_a_share_of_ours(world: int) -> None:
    """C summed over W ranks outside autograd: the mean of what they differentiate is ours / W."""
    torch.manual_seed(0)
    z = torch.randn(2, 16, 5, dtype=torch.float64, requires_grad=True)
    a, b = (F.batch_norm(view, None, None, training=True) for view in z)
    theirs = []
    for rows in torch.arange(16).chunk(world):
        local = a[rows].T @ b[rows] / 16
        c = local + (a.T @ b / 16 - local).detach()  # all_reduce, in place
        weights = torch.full_like(c, 0.0051).fill_diagonal_(1)
        loss = ((c - torch.eye(5)).square() * weights).sum()
        theirs.append(torch.autograd.grad(loss, z, retain_graph=True)[0])
    (ours,) = torch.autograd.grad(barlow_loss(z, 2, 0.0051), z)
    torch.testing.assert_close(torch.stack(theirs).mean(0), ours / world)


class TwoLayers(Method):
    """A matrix with its bias and a norm: one of each kind that the optimizer tells apart."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)).double()


def codes_lars(
    parameters: list[torch.Tensor], grads: list[torch.Tensor], mus: list[torch.Tensor], share: float
) -> None:
    """main.py `LARS.step` with adjust_learning_rate: 0.2 for weights, 0.0048 for biases."""
    for p, grad, mu in zip(parameters, grads, mus, strict=True):
        dp = grad.clone()
        if p.ndim != 1:
            dp = dp.add(p, alpha=1e-6)
            dp = dp.mul(0.001 * p.norm() / dp.norm())
        mu.mul_(0.9).add_(dp)
        p.add_(mu, alpha=-2048 / 256 * share * (0.0048 if p.ndim == 1 else 0.2))


def test_the_recipe_is_the_papers_run() -> None:
    """Our gradient and rates make the steps of 32 GPUs, whose gradient is a 32nd of it."""
    config = resolve(read_recipe("barlow"))
    method = TwoLayers()
    optimizer = build_optimizer(method, config.optim, config.loop.batch_size)
    ours = list(method.parameters())
    theirs = [p.detach().clone() for p in ours]
    mus = [torch.zeros_like(p) for p in theirs]
    generator = torch.Generator().manual_seed(1)
    for step in range(0, 1000, 25):
        progress = Progress(step, 1000, 1)
        set_schedules(optimizer, config.optim, progress)
        for p in ours:
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        optimizer.step()
        q = (1 + math.cos(math.pi * (step - 10) / 990)) / 2
        share = step / 10 if step < 10 else q + 0.001 * (1 - q)
        codes_lars(theirs, [p.grad / PAPERS_GPUS for p in ours], mus, share)
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p.detach(), q, rtol=1e-12, atol=1e-12)


def test_wrong_settings_are_named() -> None:
    """A negative lambda is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=r"barlow off_diagonal is not negative, got -1\.0; try"):
        Settings(off_diagonal=-1.0)
