"""Self-adaptive training: what a view regresses, and how an image's target moves."""

import copy

import pytest
import torch

from trainer.methods.protocol import Progress
from trainer.methods.sat import SAT, Settings

HALF_WAY = Progress(50, 100, steps_per_epoch=10)


def toy(make_backbone, **changes: object) -> SAT:
    backbone = make_backbone()
    torch.manual_seed(1)
    values = {"hidden_dim": 32, "out_dim": 8, "momentum": 0.9, "target_momentum": 0.75, **changes}
    method = SAT(backbone, Settings(**values))
    method.prepare(21)
    with torch.no_grad():  # a momentum network unlike the online one, as after some steps
        for p in method.target_backbone.parameters():
            p.mul_(0.7)
    return method


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=-1, keepdim=True)


@torch.no_grad()
def predicted(method: SAT, view: torch.Tensor) -> torch.Tensor:
    return unit(method.predictor(method.projector(method.backbone(view)))).double()


@torch.no_grad()
def said(method: SAT, view: torch.Tensor) -> torch.Tensor:
    return unit(method.target_projector(method.target_backbone(view)))


def mean_distance(p: torch.Tensor, t: torch.Tensor) -> float:
    """|p_b - t_b|^2, row by row."""
    return sum(float((a - b) @ (a - b)) for a, b in zip(p, t.double(), strict=True)) / len(p)


def test_a_view_regresses_what_was_said_before(make_backbone, make_views) -> None:
    """One view: |n(p_i) - t_i|^2 with the target as it was before this step."""
    method, views = toy(make_backbone), make_views((1,))
    twin = copy.deepcopy(method)
    loss = method.step(views, HALF_WAY).loss.item()
    wanted = mean_distance(predicted(twin, views.crops[0][0]), twin.bank.rows[:16])
    assert loss == pytest.approx(wanted, rel=1e-5)


def test_a_target_moves_once_its_image_came(make_backbone, make_views) -> None:
    """t <- n(a t + (1 - a) n(z')), z' of the momentum network before its step; others stay."""
    method, views = toy(make_backbone), make_views((1,))
    twin, before = copy.deepcopy(method), method.bank.rows.clone()
    method.step(views, HALF_WAY)
    assert torch.equal(method.bank.rows, before)  # the backward comes first
    method.after_step(HALF_WAY)
    wanted = unit(0.75 * before[:16] + 0.25 * said(twin, views.crops[0][0]))
    torch.testing.assert_close(method.bank.rows[:16], wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(method.bank.rows[16:], before[16:])


def test_the_view_may_stand_in_its_target(make_backbone, make_views) -> None:
    """update_first: the target that is regressed is the one that the bank has afterwards."""
    method, views = toy(make_backbone, update_first=True), make_views((1,))
    twin = copy.deepcopy(method)
    loss = method.step(views, HALF_WAY).loss.item()
    method.after_step(HALF_WAY)
    wanted = mean_distance(predicted(twin, views.crops[0][0]), method.bank.rows[:16])
    assert loss == pytest.approx(wanted, rel=1e-4)


def test_more_views_share_the_target(make_backbone, make_views) -> None:
    """2+2: the mean over four views; the target moves to the mean of the two global ones."""
    method, views = toy(make_backbone), make_views((2, 2))
    twin, before = copy.deepcopy(method), method.bank.rows.clone()
    loss = method.step(views, HALF_WAY).loss.item()
    crops = [view for group in views.crops for view in group]
    wanted = [mean_distance(predicted(twin, view), before[:16]) for view in crops]
    assert loss == pytest.approx(sum(wanted) / 4, rel=1e-5)
    method.after_step(HALF_WAY)
    mean = torch.stack([said(twin, view) for view in views.crops[0]]).mean(0)
    moved = unit(0.75 * before[:16] + 0.25 * mean)
    torch.testing.assert_close(method.bank.rows[:16], moved, rtol=1e-4, atol=1e-5)
