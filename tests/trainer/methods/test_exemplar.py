"""Exemplar-CNN: a class for every image, the same for all its views."""

import math

import pytest
import torch

from shards.errors import UsageError
from trainer.methods.exemplar import Exemplar, Settings
from trainer.methods.protocol import Progress


def toy(make_backbone, **changes: object) -> Exemplar:
    backbone = make_backbone()
    torch.manual_seed(1)
    method = Exemplar(backbone, Settings(**{"out_dim": 12, "dropout": 0.0, **changes}))
    method.prepare(21)
    return method


START = Progress(0, 100, steps_per_epoch=10)


def test_loss_is_the_equation(make_backbone, make_views) -> None:
    """1+3 views: mean of -log of the softmax over all 21 images at the view's own."""
    method, views = toy(make_backbone), make_views((1, 3))
    torch.nn.init.normal_(method.classifier.weight)
    loss = method.step(views, START).loss
    features = torch.cat([method.backbone(crops.flatten(0, 1)) for crops in views.crops])
    classifier, hidden = method.classifier, features @ method.projector[0].weight.T
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt()
    p = (hidden @ classifier.weight.T + classifier.bias).softmax(1)
    terms = [-p[row, row % 16].log() for row in range(4 * 16)]
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_starts_at_log_n(make_backbone, make_views) -> None:
    """The classifier starts from zeros, so the loss is ln N for any images."""
    loss = toy(make_backbone).step(make_views((2,)), START).loss
    assert loss.item() == pytest.approx(math.log(21), rel=1e-6)


def test_dropout_only_drops_when_asked(make_backbone, make_views) -> None:
    """With dropout about half of the fully connected layer is zero, and two forwards differ."""
    without, dropping = toy(make_backbone), toy(make_backbone, dropout=0.5)
    views = make_views((2,))
    whole, first, second = (m.step(views, START).embeddings for m in (without, dropping, dropping))
    assert (whole != 0).all()
    assert 0.3 < (first == 0).float().mean() < 0.7
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_wrong_settings_are_named(dropout: float) -> None:
    """A dropout that is none is refused."""
    with pytest.raises(UsageError, match=rf"exemplar dropout lies in \[0, 1\), got {dropout}"):
        Settings(dropout=dropout)
