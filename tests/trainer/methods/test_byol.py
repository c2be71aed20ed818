"""BYOL against its paper, forward by forward."""

import copy

import pytest
import torch

from trainer.methods.byol import BYOL, Settings
from trainer.methods.protocol import Progress
from trainer.nets.ema import cosine_momentum

TOY = Settings(hidden_dim=32, out_dim=8, momentum=0.9)
HALF_WAY = Progress(50, 100, 10)


@pytest.fixture
def byol(make_backbone) -> BYOL:
    method = BYOL(make_backbone(), TOY)
    with torch.no_grad():  # a target unlike the online network, as after some steps
        for p in (*method.target_backbone.parameters(), *method.target_projector.parameters()):
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
    return method


def paper_loss(method: BYOL, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
    """Equation 2, both directions, every view forwarded on its own."""

    def online(x: torch.Tensor) -> torch.Tensor:
        return method.predictor(method.projector(method.backbone(x)))

    def target(x: torch.Tensor) -> torch.Tensor:
        return method.target_projector(method.target_backbone(x)).detach()

    def regression(p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        p, z = p / p.norm(dim=1, keepdim=True), z / z.norm(dim=1, keepdim=True)
        return (p - z).square().sum(1).mean()

    p1, p2, z1, z2 = online(x1), online(x2), target(x1), target(x2)
    return regression(p1, z2) + regression(p2, z1)


def test_two_views_are_the_papers_separate_forwards(byol: BYOL, make_views) -> None:
    """Loss, gradients and the target's running statistics equal a transcription of the paper."""
    views = make_views()
    twin = copy.deepcopy(byol)
    ours = byol.step(views, HALF_WAY).loss
    theirs = paper_loss(twin, *views.crops[0])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(byol.named_parameters(), twin.parameters(), strict=True):
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)
    for a, b in zip(byol.target_backbone.buffers(), twin.target_backbone.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_loss_is_scaled(make_backbone, make_views) -> None:
    """By loss_scale, which is 1."""
    losses = []
    for scale in (1.0, 5.0):
        method = BYOL(make_backbone(), Settings(hidden_dim=32, out_dim=8, loss_scale=scale))
        method.load_state_dict(BYOL(make_backbone(), TOY).state_dict())
        losses.append(method.step(make_views(), HALF_WAY).loss)
    torch.testing.assert_close(losses[1], 5 * losses[0])


def test_local_views_predict_but_are_not_predicted(byol: BYOL, make_views) -> None:
    """2+2: the target forwards the two global views only, and six pairs make the loss."""
    rows: list[int] = []
    byol.target_backbone.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    loss = byol.step(make_views((2, 2)), HALF_WAY).loss
    assert rows == [2 * 16]
    assert 0 < loss.item() < 8


def test_target_follows_after_the_step(byol: BYOL, make_views) -> None:
    """after_step: tau old + (1 - tau) new with the schedule's tau; buffers are left alone."""
    byol.step(make_views(), HALF_WAY)
    old = copy.deepcopy(byol)
    byol.after_step(HALF_WAY)
    tau = cosine_momentum(0.9, 0.5)
    pairs = [
        (byol.target_backbone, old.target_backbone, byol.backbone),
        (byol.target_projector, old.target_projector, byol.projector),
    ]
    for target, before, online in pairs:
        for p, q, new in zip(
            target.parameters(), before.parameters(), online.parameters(), strict=True
        ):
            torch.testing.assert_close(p, tau * q + (1 - tau) * new)
        for a, b in zip(target.buffers(), before.buffers(), strict=True):
            assert torch.equal(a, b)


def test_starts_as_a_copy_and_ends_still(make_backbone, make_views) -> None:
    """A new target equals the online network; at the run's end tau is 1 and it no longer moves."""
    method = BYOL(make_backbone(), TOY)
    for p, q in zip(method.target_backbone.parameters(), method.backbone.parameters(), strict=True):
        assert torch.equal(p, q)
    with torch.no_grad():
        method.backbone.get_parameter("net.0.weight").add_(1)
    before = copy.deepcopy(method.target_backbone)
    end = Progress(100, 100, 10)
    assert method.step(make_views(), end).metrics["momentum"] == 1.0
    method.after_step(end)
    for p, q in zip(method.target_backbone.parameters(), before.parameters(), strict=True):
        assert torch.equal(p, q)


def test_one_direction_is_half_of_both(make_backbone, make_views) -> None:
    """symmetric=false, 2+1: views 1 and local predict view 2's target alone; its mean over both."""
    method = BYOL(make_backbone(), Settings(hidden_dim=32, out_dim=8, symmetric=False))
    twin, views = copy.deepcopy(method), make_views((2, 1))
    rows: list[int] = []
    method.target_backbone.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    loss = method.step(views, HALF_WAY).loss
    with torch.no_grad():
        z = twin.target_projector(twin.target_backbone(views.crops[0][1])).double()
        p = [
            twin.predictor(twin.projector(twin.backbone(x))).double()
            for x in (views.crops[0][0], views.crops[1][0])
        ]
        distances = [(x / x.norm() - y / y.norm()) @ (x / x.norm() - y / y.norm())
                     for each in p for x, y in zip(each, z, strict=True)]  # fmt: skip
    assert loss.item() == pytest.approx(float(sum(distances)) / 32, rel=1e-4)
    assert rows == [16]
    assert method.seen_global_views(2) == 1


def test_without_a_ramp_the_momentum_stays(make_backbone) -> None:
    """At 0 the target is the online network after every step."""
    method = BYOL(make_backbone(), Settings(hidden_dim=32, out_dim=8, momentum=0.0, ramp=False))
    with torch.no_grad():
        for p in method.backbone.parameters():
            p.add_(1)
    method.after_step(HALF_WAY)
    pairs = zip(method.target_backbone.parameters(), method.backbone.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
