"""LARS and LARC against steps written by hand, and plain SGD when nothing is adapted."""

import copy

import pytest
import torch
from torch import nn

from shards.errors import UsageError
from trainer.optim.lars import LARS, lars_update

RULE = {"lr": 0.3, "momentum": 0.9, "weight_decay": 0.05, "trust": 1e-2}


def hand_step(
    p: torch.Tensor, g: torch.Tensor, m: torch.Tensor, form: str, adapt: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step in scalar terms, from the papers."""
    d = g + RULE["weight_decay"] * p
    ratio = 1.0
    if adapt and form != "larc" and p.norm() > 0 and d.norm() > 0:
        ratio = RULE["trust"] * p.norm() / d.norm()
    if adapt and form == "larc" and p.norm() > 0 and g.norm() > 0:
        denominator = g.norm() + RULE["weight_decay"] * p.norm() + 1e-8
        ratio = RULE["trust"] * p.norm() / denominator
    if form == "lars_tf":
        m = RULE["momentum"] * m + RULE["lr"] * ratio * d
        return p - m, m
    m = RULE["momentum"] * m + ratio * d
    return p - RULE["lr"] * m, m


@pytest.mark.parametrize("form", ["lars", "lars_tf", "larc"])
@pytest.mark.parametrize("adapt", [True, False])
def test_equals_a_hand_written_step(form: str, adapt: bool) -> None:
    """Three steps on tensors of several shapes equal the papers' rule in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (5,), (2, 2, 3, 3)]

    def draw() -> list[torch.Tensor]:
        return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]

    params, buffers = draw(), [torch.zeros(s, dtype=torch.float64) for s in shapes]
    expected = [(p.clone(), m.clone()) for p, m in zip(params, buffers, strict=True)]
    for _ in range(3):
        grads = draw()
        kept = [g.clone() for g in grads]
        lars_update(params, grads, buffers, adapt=adapt, form=form, **RULE)
        assert all(torch.equal(g, k) for g, k in zip(grads, kept, strict=True))
        expected = [
            hand_step(p, g, m, form, adapt) for (p, m), g in zip(expected, grads, strict=True)
        ]
    for p, m, (p_hand, m_hand) in zip(params, buffers, expected, strict=True):
        torch.testing.assert_close(p, p_hand, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(m, m_hand, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", ["lars", "lars_tf", "larc"])
def test_zero_norms_fall_back(form: str) -> None:
    """A zero parameter takes the plain step; a zero gradient never gives NaN."""
    params, buffers = [torch.zeros(3), torch.ones(3)], [torch.zeros(3), torch.zeros(3)]
    grads = [torch.ones(3), torch.zeros(3)]
    lars_update(params, grads, buffers, adapt=True, form=form, **RULE)
    torch.testing.assert_close(params[0], torch.full((3,), -0.3))
    decayed = 1.0 if form == "larc" else 1 - 0.3 * 1e-2  # apex skips decay without a gradient
    torch.testing.assert_close(params[1], torch.full((3,), decayed))


def test_forms_differ_and_ratio_is_scale_free() -> None:
    """LARS forgets the gradient's scale without decay; with decay the two forms part."""
    p = torch.arange(1.0, 5.0)
    ends = []
    for grad_scale, decay, form in ((1, 0, "lars"), (9, 0, "lars"), (1, 1, "lars"), (1, 1, "larc")):
        params, grads = [p.clone()], [grad_scale * torch.tensor([1.0, -1, 2, 0.5])]
        rule = RULE | {"weight_decay": decay}
        lars_update(params, grads, [torch.zeros(4)], adapt=True, form=form, **rule)
        ends.append(params[0])
    torch.testing.assert_close(ends[0], ends[1])
    assert (ends[2] - ends[3]).abs().max() > 1e-4


def test_unadapted_is_torch_sgd() -> None:
    """With adapt off, ten steps equal torch.optim.SGD with momentum and decay, bit for bit."""
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    theirs = copy.deepcopy(ours)
    a = LARS(ours.parameters(), 0.1, momentum=0.9, weight_decay=1e-2, adapt=False)
    b = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    for _ in range(10):
        x = torch.randn(8, 6)
        for model, optimizer in ((ours, a), (theirs, b)):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-7)


def test_a_parameter_without_gradient_rests() -> None:
    """No gradient: neither value nor momentum moves (SwAV's frozen prototypes)."""
    p, q = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = LARS([p, q], 0.1, weight_decay=0.1)
    p.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(q, torch.ones(2))
    assert q not in optimizer.state
    assert not torch.equal(p, torch.ones(2))


def test_unknown_form_is_refused() -> None:
    """A misspelt form names the right one."""
    with pytest.raises(UsageError, match="known: lars, lars_tf, larc"):
        LARS([nn.Parameter(torch.ones(1))], 0.1, form="larcs")
