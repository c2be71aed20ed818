"""A step asks no more of a device than its budget says, and the budget is what was counted."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.steps import step_counts
from benchmarks.steps.operator_count import Count
from benchmarks.steps.step_counts import ENCODERS, RESULTS, count_step, refuse_more
from shards.errors import DataError
from trainer.methods.method_table import METHODS
from trainer.step import clip_each

BUDGETS = json.loads(RESULTS.read_text(encoding="utf-8"))["steps"]
QUICK = ("barlow",)


def test_every_method_has_budgets() -> None:
    """One for each of both encoders; but `distill`, which needs a teacher's file."""
    assert BUDGETS.keys() == METHODS.keys() - {"distill"}
    assert all(each.keys() == ENCODERS.keys() for each in BUDGETS.values())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in BUDGETS],
)
def test_a_step_keeps_to_its_budget(name: str) -> None:
    """Operators and bytes as they stand in the file, or fewer; another torch counts otherwise."""
    encoders = ["vit_small16"] if name in QUICK else list(ENCODERS)
    counts = {encoder: count_step(name, encoder) for encoder in encoders}
    refuse_more(name, counts, BUDGETS)


def test_more_is_refused() -> None:
    """One operator or a hundredth of the bytes above the budget, and a method without one."""
    budget = BUDGETS["barlow"]
    refuse_more("barlow", budget, BUDGETS)
    for key, value in (("operators", 1), ("gib", 0.01 * budget["resnet50"]["gib"])):
        counts = {"resnet50": {**budget["resnet50"], key: budget["resnet50"][key] + value}}
        with pytest.raises(DataError, match="a step of barlow with resnet50 needs at most"):
            refuse_more("barlow", counts, BUDGETS)
    with pytest.raises(DataError, match="got none for mine"):
        refuse_more("mine", budget, BUDGETS)


def test_a_misspelt_method_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In one line, as is a check without a file; both write nothing."""
    monkeypatch.setattr(step_counts, "RESULTS", tmp_path / "none.json")
    assert step_counts.main(["--methods", "swaw"]) != 0
    assert "did you mean swav" in capsys.readouterr().err
    assert step_counts.main(["--methods", "swav", "--check"]) != 0
    assert "got none" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_clipping_every_tensor_is_few_operators() -> None:
    """At most 12 for the 150 tensors of a ViT-S, where one by one took over a thousand."""
    gradients = [torch.empty(3, 4, device="meta") for _ in range(150)]
    with Count() as count:
        clip_each(gradients, 3.0)
    assert count.operators <= 12


def test_what_is_counted() -> None:
    """Inputs and results, a list of tensors as one operator; no views, no allocations."""
    x, y = torch.zeros(10), torch.zeros(1)
    with Count() as count:
        x.view(2, 5)
        torch.empty(7)
        z = x + y.expand(10)  # 40 + 4 + 40
        z.mul_(2.0)  # 40 + 40
        torch._foreach_add_([z, x], 1.0)
    assert dict(count.by_name) == {"add": 1, "mul_": 1, "_foreach_add_": 1}
    assert count.bytes == 84 + 80 + 160  # each list is read and written
