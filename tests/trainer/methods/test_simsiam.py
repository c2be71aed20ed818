"""SimSiam against its paper, and the collapse its stop-gradient prevents."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from shards.errors import UsageError
from trainer.losses.cosine import unit_rows
from trainer.methods.protocol import Progress
from trainer.methods.simsiam import Settings, SimSiam

START = Progress(0, 100, 10)


def toy(make_backbone, **changes: object) -> SimSiam:
    backbone = make_backbone()
    torch.manual_seed(1)
    return SimSiam(backbone, Settings(out_dim=32, predictor_dim=8, projector_layers=2, **changes))


def test_two_views_are_the_papers_separate_forwards(make_backbone, make_views) -> None:
    """Loss and gradients equal a transcription of the paper's pseudo-code."""
    method = toy(make_backbone)
    twin = copy.deepcopy(method)
    views = make_views()
    z1, z2 = (twin.projector(twin.backbone(x)) for x in views.crops[0])
    p1, p2 = twin.predictor(z1), twin.predictor(z2)
    z1, z2 = z1.detach(), z2.detach()
    paper = -(cosine_similarity(p1, z2).mean() + cosine_similarity(p2, z1).mean()) / 2
    ours = method.step(views, START).loss
    torch.testing.assert_close(ours, paper, rtol=1e-5, atol=1e-6)
    ours.backward()
    paper.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)


def train(method: SimSiam, make_views, steps: int = 90) -> tuple[float, float]:
    """Last loss, and the std of unit embeddings times sqrt(d): 1 when healthy, 0 when collapsed."""
    optimizer = torch.optim.SGD(method.parameters(), lr=0.5, momentum=0.9)
    loss, embeddings = torch.zeros(()), torch.zeros(1, 1)
    for step in range(steps):  # views of almost nothing but noise: agreeing is hard to earn
        result = method.step(make_views(seed=step, noise=3.0), START)
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
        loss, embeddings = result.loss, result.embeddings
    spread = unit_rows(embeddings).std(0).mean() * embeddings.shape[1] ** 0.5
    return loss.item(), spread.item()


def test_stop_gradient_prevents_collapse(make_backbone, make_views) -> None:
    """Without it the loss runs towards -1 on noise and the embeddings lose their spread."""
    healthy, healthy_spread = train(toy(make_backbone), make_views)
    collapsed, collapsed_spread = train(toy(make_backbone, stop_gradient=False), make_views)
    assert collapsed < healthy - 0.3
    assert collapsed_spread < 0.8 < 0.95 < healthy_spread


def test_without_a_predictor_the_stop_gradient_only_halves(make_backbone, make_views) -> None:
    """Section 4.2 of the paper: the gradient is half the one that runs into both sides."""
    gradients = []
    for stop_gradient in (True, False):
        method = toy(make_backbone, predictor=False, stop_gradient=stop_gradient)
        twin, views = copy.deepcopy(method), make_views()
        z1, z2 = (twin.projector(twin.backbone(x)) for x in views.crops[0])
        result = method.step(views, START)
        paper = -cosine_similarity(z1, z2).mean()
        torch.testing.assert_close(result.loss, paper, rtol=1e-5, atol=1e-6)
        result.loss.backward()
        gradients.append([p.grad for p in method.parameters()])
        assert not [name for name in method.state_dict() if "predictor" in name]
    for stopped, whole in zip(*gradients, strict=True):
        torch.testing.assert_close(2 * stopped, whole, rtol=1e-3, atol=1e-5)


def test_predictor_keeps_its_rate() -> None:
    """The predictor is named for a constant learning rate."""
    assert SimSiam.constant_lr == ("predictor",)


def test_hidden_layers_are_as_wide_as_the_features(make_backbone) -> None:
    """The code's projector: hidden layers of the features' width, or of the one that is asked."""
    backbone = make_backbone()
    for hidden_dim, expected in ((None, backbone.feature_dim), (48, 48)):
        settings = Settings(out_dim=32, hidden_dim=hidden_dim, predictor_dim=8)
        method = SimSiam(backbone, settings)
        shapes = [tuple(x.weight.shape) for x in method.projector if isinstance(x, nn.Linear)]
        assert shapes == [(expected, backbone.feature_dim), (expected, expected), (32, expected)]
    with pytest.raises(UsageError, match="simsiam hidden_dim is at least 1, got 0"):
        Settings(hidden_dim=0)


def test_fastsiam_predicts_one_mean(make_backbone, make_views) -> None:
    """Four views: lightly's loop over separate forwards, the mean of three others a target."""
    method, views = toy(make_backbone, targets="mean"), make_views((4,))
    twin = copy.deepcopy(method)
    z = torch.stack([twin.projector(twin.backbone(x)) for x in views.crops[0]])
    p = torch.stack([twin.predictor(x) for x in z])
    z, loss = z.detach(), torch.zeros(())
    for i in range(4):
        others = torch.arange(4) != i
        loss = loss - cosine_similarity(p[i], z[others].mean(0)).mean() / 4
    ours = method.step(views, START).loss
    torch.testing.assert_close(ours, loss, rtol=1e-5, atol=1e-6)
    ours.backward()
    loss.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)
    with pytest.raises(UsageError, match="unknown simsiam targets 'means'; did you mean mean"):
        Settings(targets="means")
