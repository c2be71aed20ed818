"""VICReg against its code, forward by forward."""

import copy

import pytest
import torch
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.protocol import Progress
from trainer.methods.vicreg import Settings, VICReg
from trainer.nets.iter_norm import iterative_whitening

START = Progress(0, 100, 10)


def toy(make_backbone, **changes: object) -> VICReg:
    backbone = make_backbone()
    torch.manual_seed(1)
    return VICReg(backbone, Settings(hidden_dim=32, out_dim=8, **changes))


def codes_loss(method: VICReg, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
    """25 mse + 25 (hinge_x + hinge_y) / 2 + cov_x + cov_y, every view forwarded on its own."""
    loss = torch.zeros(())
    x, y = (method.expander(method.backbone(image)) for image in (x1, x2))
    loss = 25 * F.mse_loss(x, y)
    for z in (x, y):
        loss = loss + 25 * F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() / 2
        squares = torch.cov(z.T).square() * (1 - torch.eye(8))
        loss = loss + squares.sum() / 8
    return loss


def test_two_views_are_the_codes_separate_forwards(make_backbone, make_views) -> None:
    """Loss and gradients equal a transcription of the code."""
    method, views = toy(make_backbone), make_views()
    twin = copy.deepcopy(method)
    ours, theirs = method.step(views, START).loss, codes_loss(twin, *views.crops[0])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_the_papers_variance_counts_twice(make_backbone, make_views) -> None:
    """paper_variance doubles that term and nothing else; the logged terms make up the loss."""
    code, paper = (
        toy(make_backbone, paper_variance=flag).step(make_views((2, 2)), START)
        for flag in (False, True)
    )
    variance = code.metrics["variance"]
    torch.testing.assert_close(paper.metrics["variance"], 2 * variance)
    torch.testing.assert_close(paper.loss, code.loss + 25 * variance)
    total = 25 * code.metrics["invariance"] + 25 * variance + code.metrics["covariance"]
    torch.testing.assert_close(code.loss, total)


@pytest.mark.parametrize("name", ["invariance", "variance", "covariance"])
def test_each_term_has_its_weight(name: str, make_backbone, make_views) -> None:
    """A weight of 0 takes its term out of the loss; a negative one is refused."""
    whole = toy(make_backbone).step(make_views(), START)
    without = toy(make_backbone, **{name: 0.0}).step(make_views(), START)
    weight = getattr(Settings(), name)
    torch.testing.assert_close(without.loss, whole.loss - weight * whole.metrics[name])
    with pytest.raises(UsageError, match=f"vicreg {name} is not negative"):
        Settings(**{name: -1.0})


def test_vibcreg_is_two_settings(make_backbone, make_views) -> None:
    """Whitened groups, correlations and the sum of two hinges: the loss of VIbCReg's code."""
    changes = {"covariance": 200.0, "paper_variance": True, "correlation": True}
    method, views = toy(make_backbone, **changes, whiten_groups=2), make_views()
    twin = copy.deepcopy(method)
    theirs, white = torch.zeros(()), []
    for image in views.crops[0]:
        groups = twin.expander(twin.backbone(image)).unflatten(1, (2, 4)).transpose(0, 1)
        z = iterative_whitening(groups, 5).transpose(0, 1).flatten(1)
        white.append(z)
        theirs = theirs + 25 * F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean()
        theirs = theirs + 200 * (torch.corrcoef(z.T).square() * (1 - torch.eye(8))).mean()
    theirs = theirs + 25 * F.mse_loss(*white)
    torch.testing.assert_close(method.step(views, START).loss, theirs, rtol=1e-5, atol=1e-5)


def test_groups_divide_the_features() -> None:
    """What does not is refused before a run."""
    with pytest.raises(UsageError, match="whiten_groups divides out_dim, 8192, got 3; try 0"):
        Settings(whiten_groups=3)
