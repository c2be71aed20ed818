"""EMP-SSL against its code: cosines to the mean of all views, and a coding rate a view."""

import copy

import pytest
import torch
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.empssl import EMPSSL, Settings
from trainer.methods.protocol import Progress

START = Progress(0, 100, 10)


def toy(make_backbone, **changes: float) -> EMPSSL:
    backbone = make_backbone()
    torch.manual_seed(1)
    return EMPSSL(backbone, Settings(hidden_dim=32, out_dim=8, **changes))


def test_many_views_are_the_codes(make_backbone, make_views) -> None:
    """Twenty in one forward: loss and gradients equal a transcription of the code."""
    method, views = toy(make_backbone), make_views((20,))
    twin = copy.deepcopy(method)
    z = F.normalize(twin.projector(twin.backbone(views.crops[0].flatten(0, 1))), dim=1)
    z = z.unflatten(0, (20, 16))
    alike = torch.stack([F.cosine_similarity(view, z.mean(0), dim=1).mean() for view in z]).mean()
    rates = [torch.logdet(torch.eye(8) + 8 / (16 * 0.2) * view.T @ view) / 2 for view in z]
    theirs = -200 * alike - torch.stack(rates).mean()
    ours = method.step(views, START).loss
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-3, msg=name)


def test_each_term_has_its_weight(make_backbone, make_views) -> None:
    """The logged terms make up the loss, local views among them; negative weights are refused."""
    result = toy(make_backbone, invariance=3.0, rate=2.0).step(make_views((2, 6)), START)
    terms = result.metrics
    torch.testing.assert_close(result.loss, -3 * terms["invariance"] - 2 * terms["coding_rate"])
    for name in ("invariance", "rate"):
        with pytest.raises(UsageError, match=f"empssl {name} is not negative"):
            Settings(**{name: -1.0})
