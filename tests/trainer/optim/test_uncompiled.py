"""Optimizers without torch's compiler take torch's steps, and do not import it."""

import copy
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.optim import uncompiled

ROOT = Path(__file__).parents[3]
KINDS = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
    "AdamW": {"lr": 0.01, "weight_decay": 0.1},
    "LBFGS": {"lr": 0.5, "max_iter": 4, "line_search_fn": "strong_wolfe"},
}


def steps(make: Callable[..., torch.optim.Optimizer]) -> tuple[list[torch.Tensor], dict]:
    """Six steps, the optimizer saved and loaded into a new one in their midst."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype))
    x = torch.randn(16, 5, generator=generator, dtype=torch.float64)
    optimizer = make(model.parameters())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    for step in range(6):
        if step == 3:
            state, optimizer = optimizer.state_dict(), make(model.parameters())
            optimizer.load_state_dict(state)
        optimizer.step(closure)
    return [p.detach() for p in model.parameters()], optimizer.state_dict()


@pytest.mark.parametrize("name", KINDS)
def test_steps_are_those_of_torch(name: str) -> None:
    """Bit for bit, through a saved state too; no graph is left on the parameters."""
    ours, our_state = steps(partial(getattr(uncompiled, name), **KINDS[name]))
    theirs, their_state = steps(partial(getattr(torch.optim, name), **KINDS[name]))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert our_state["param_groups"] == their_state["param_groups"]
    assert our_state["state"].keys() == their_state["state"].keys()


@pytest.mark.parametrize("is_fused", [True, False])
def test_a_state_is_loaded_into_this_devices_form(is_fused: bool) -> None:
    """A run that goes on where steps are fused, or no longer: counts and moments, not the form."""

    def made(fused: bool) -> uncompiled.AdamW:
        p = torch.nn.Parameter(torch.ones(2, 2))
        p.grad = torch.full_like(p, 0.5)
        return uncompiled.AdamW([p], lr=0.1, fused=fused or None)

    before, after = made(not is_fused), made(is_fused)
    before.step()
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    assert [group["fused"] for group in after.param_groups] == [is_fused or None]
    before.step()
    after.step()
    ours, theirs = (next(iter(each.state.values())) for each in (after, before))
    torch.testing.assert_close(ours["exp_avg_sq"], theirs["exp_avg_sq"])
    assert int(ours["step"]) == int(theirs["step"]) == 2


def test_no_optimizer_imports_the_compiler() -> None:
    """From its making over steps to its saved state; torch's own does at once."""
    code = """
import sys, torch
from trainer.optim.lars import LARS
from trainer.optim.uncompiled import LBFGS, SGD, AdamW
for kind in (SGD, AdamW, LBFGS, LARS, torch.optim.SGD):
    p = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = kind([p], lr=0.1)
    optimizer.zero_grad()
    def closure():
        loss = p.square().sum()
        loss.backward()
        return loss
    optimizer.step(closure)
    optimizer.load_state_dict(optimizer.state_dict())
    print(kind.__name__, "torch._dynamo" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines() == [
        "SGD False", "AdamW False", "LBFGS False", "LARS False", "SGD True",
    ]  # fmt: skip
