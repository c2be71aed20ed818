"""Barlow Twins against its paper, forward by forward."""

import copy

import pytest
import torch
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.barlow import BarlowTwins, Settings
from trainer.methods.protocol import Progress

START = Progress(0, 100, 10)


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


def test_wrong_settings_are_named() -> None:
    """A negative lambda is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=r"barlow off_diagonal is not negative, got -1\.0; try"):
        Settings(off_diagonal=-1.0)
