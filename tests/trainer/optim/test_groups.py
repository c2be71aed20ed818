"""Parameter groups: every trainable parameter once, decayed and adapted by rule."""

import pytest
import torch
from torch import nn

from trainer.optim.groups import assert_covers, parameter_groups


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.predictor = nn.Linear(4, 4)
        self.predictor_like = nn.Linear(4, 4, bias=False)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def groups_of(module: nn.Module, *, decay_1d: bool, adapt_1d: bool) -> dict[str, dict]:
    groups = parameter_groups(
        module, lr=0.5, weight_decay=1e-4, decay_1d=decay_1d, adapt_1d=adapt_1d,
        constant_lr=("predictor",),
    )  # fmt: skip
    return {group["name"]: group for group in groups}


def test_rules() -> None:
    """1-D parameters lose decay and adaptation by option; only the named child is constant."""
    toy = Toy()
    groups = groups_of(toy, decay_1d=False, adapt_1d=False)
    assert {name: len(g["params"]) for name, g in groups.items()} == {
        "weights": 2, "1d": 3, "constant_weights": 1, "constant_1d": 1,
    }  # fmt: skip
    assert [groups[n]["weight_decay"] for n in ("weights", "1d")] == [1e-4, 0.0]
    assert [groups[n]["adapt"] for n in ("weights", "1d")] == [True, False]
    assert groups["constant_weights"]["params"][0] is toy.predictor.weight
    assert groups["constant_weights"]["constant_lr"]
    assert not groups["weights"]["constant_lr"]
    both = groups_of(toy, decay_1d=True, adapt_1d=True)
    assert both["1d"]["weight_decay"] == 1e-4
    assert both["1d"]["adapt"]


def test_cover_is_exact() -> None:
    """The groups pass; a missing, a frozen or a repeated parameter does not."""
    toy = Toy()
    groups = list(groups_of(toy, decay_1d=True, adapt_1d=True).values())
    optimizer = torch.optim.SGD(groups, lr=0.1)
    assert_covers(optimizer, toy)
    kept = [p for name, p in toy.named_parameters() if p.requires_grad and "like" not in name]
    without_one = torch.optim.SGD(kept, lr=0.1)
    with pytest.raises(ValueError, match=r"1 missing .*predictor_like"):
        assert_covers(without_one, toy)
    with_frozen = torch.optim.SGD(toy.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="2 foreign or frozen"):
        assert_covers(with_frozen, toy)
    optimizer.param_groups[0]["params"].append(optimizer.param_groups[1]["params"][0])
    with pytest.raises(ValueError, match="1 repeated"):
        assert_covers(optimizer, toy)
