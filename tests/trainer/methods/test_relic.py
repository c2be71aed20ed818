"""ReLIC forward by forward, and what ReLICv2's settings change."""

import copy

import pytest
import torch
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.losses.relic import offsets_of_step
from trainer.methods.protocol import Progress
from trainer.methods.relic import ReLIC, Settings
from trainer.nets.ema import cosine_momentum

HALF_WAY = Progress(50, 100, 10)


def toy(make_backbone, **changes: object) -> ReLIC:
    backbone = make_backbone()
    torch.manual_seed(1)
    values = {"hidden_dim": 32, "out_dim": 8, "temperature": 0.3, "momentum": 0.9, **changes}
    method = ReLIC(backbone, Settings(**values))
    with torch.no_grad():  # a target of other weights, as after some steps
        for p in (*method.target_backbone.parameters(), *method.target_projector.parameters()):
            p.mul_(0.7)
    return method


def test_two_views_are_the_papers_separate_forwards(make_backbone, make_views) -> None:
    """Loss and gradients: both directions' contrast, and alpha times their divergence both ways."""
    method, views = toy(make_backbone, invariance=1.7), make_views()
    twin = copy.deepcopy(method)
    x1, x2 = views.crops[0]
    o1, o2 = (F.normalize(twin.projector(twin.backbone(x)), dim=1) for x in (x1, x2))
    t1, t2 = (F.normalize(twin.target_projector(twin.target_backbone(x)), dim=1) for x in (x1, x2))
    p12, p21 = o1 @ t2.T.detach() / 0.3, o2 @ t1.T.detach() / 0.3
    own = torch.arange(16)
    contrast = (F.cross_entropy(p12, own) + F.cross_entropy(p21, own)) / 2
    p12, p21 = p12.log_softmax(1), p21.log_softmax(1)
    divergence = sum(
        F.kl_div(r, q.detach(), log_target=True, reduction="batchmean") / 2
        for q, r in ((p12, p21), (p21, p12))
    )
    result = method.step(views, HALF_WAY)
    torch.testing.assert_close(result.metrics["contrast"], contrast.detach())
    torch.testing.assert_close(result.metrics["invariance"], divergence.detach())
    paper = contrast + 1.7 * divergence
    torch.testing.assert_close(result.loss, paper)
    result.loss.backward()
    paper.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        if p.requires_grad:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_small_views_only_ask_and_own_targets_count(make_backbone, make_views) -> None:
    """2+2 with own views: eight pairs, all with a target of a large view, over 1 + 5 images."""
    method = toy(make_backbone, own_view=True, num_negatives=5)
    views, twin = make_views((2, 2)), copy.deepcopy(method)
    rows: list[int] = []
    method.target_backbone.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    crops = [x for group in views.crops for x in group]
    o = [F.normalize(twin.projector(twin.backbone(x)), dim=1) for x in crops]
    t = [F.normalize(twin.target_projector(twin.target_backbone(x)), dim=1) for x in crops[:2]]
    places = (torch.arange(16)[:, None] + offsets_of_step(50, 16, 5)) % 16
    first = torch.zeros(16, dtype=torch.long)
    losses = [
        F.cross_entropy((o[v] @ t[g].T / 0.3).gather(1, places), first)
        for v in range(4)
        for g in range(2)
    ]
    metrics = method.step(views, HALF_WAY).metrics
    torch.testing.assert_close(metrics["contrast"], torch.stack(losses).mean().detach())
    assert rows == [2 * 16]


def test_the_target_follows(make_backbone) -> None:
    """after_step: tau old + (1 - tau) new, tau on a cosine to 1."""
    method = toy(make_backbone)
    old, new = method.target_projector[0].weight.clone(), method.projector[0].weight
    method.after_step(HALF_WAY)
    tau = cosine_momentum(0.9, 0.5)
    torch.testing.assert_close(method.target_projector[0].weight, tau * old + (1 - tau) * new)
    before = method.target_projector[0].weight.clone()
    method.after_step(Progress(100, 100, 10))
    torch.testing.assert_close(method.target_projector[0].weight, before)


def test_a_batch_has_the_negatives(make_backbone) -> None:
    """As many negatives as images are refused before the run, one less is taken."""
    method = toy(make_backbone, num_negatives=16)
    method.check_images(17)
    with pytest.raises(UsageError, match="num_negatives is less than the 16 images of a forward"):
        method.check_images(16)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, "relic temperature is positive, got 0.0"),
        ({"invariance": -1.0}, "relic invariance is not negative, got -1.0"),
        ({"num_negatives": 0}, "relic num_negatives is at least 1, got 0"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
