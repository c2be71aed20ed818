"""The optimizer of a run: built from settings, scheduled, saved and restored bit for bit."""

import copy

import pytest
import torch
from torch import nn

from shards.errors import UsageError
from trainer.methods.protocol import Method, Progress
from trainer.optim.create_optimizer import OPTIMIZERS, OptimSettings, build_optimizer, set_schedules


class Toy(Method):
    constant_lr = ("predictor",)

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.predictor = nn.Linear(8, 3)

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        return (self.predictor(self.backbone(x)) - x.sin()).square().mean()


def train(model: Toy, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
    losses = []
    for step in steps:
        x = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
        set_schedules(optimizer, OptimSettings(warmup_epochs=1), Progress(step, 40, 10))
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_round_trips_bit_exactly(name: str) -> None:
    """Saved after 7 steps and loaded into a new optimizer, the next 7 losses are the same bits."""
    torch.manual_seed(0)
    settings = OptimSettings(name=name, base_lr=0.05, trust=0.05, weight_decay=0.01)
    model = Toy()
    optimizer = build_optimizer(model, settings, batch_size=128)
    train(model, optimizer, range(7))
    twin = Toy()
    twin.load_state_dict(copy.deepcopy(model.state_dict()))
    restored = build_optimizer(twin, settings, batch_size=128)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert train(model, optimizer, range(7, 14)) == train(twin, restored, range(7, 14))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_learns(name: str) -> None:
    """Each optimizer lowers a small regression's loss."""
    torch.manual_seed(0)
    rate = {"adamw": 0.02, "muon": 0.02}.get(name, 0.2)
    settings = OptimSettings(name=name, base_lr=rate, trust=0.05)
    model = Toy()
    optimizer = build_optimizer(model, settings, batch_size=256)
    losses = train(model, optimizer, range(40))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_schedule_leaves_the_predictor_alone() -> None:
    """Scheduled groups follow the warm-up, the predictor's stay at base x batch / 256."""
    settings = OptimSettings(base_lr=0.1, warmup_epochs=2)
    optimizer = build_optimizer(Toy(), settings, batch_size=512)
    logged = set_schedules(optimizer, settings, Progress(5, 100, steps_per_epoch=10))
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert logged == pytest.approx(0.05)
    assert rates["weights"] == rates["1d"] == pytest.approx(0.05)
    assert rates["constant_weights"] == rates["constant_1d"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "larss"}, "did you mean lars"),
        ({"base_lr": 0.0}, "optim.base_lr is positive, got 0.0"),
        ({"final": 2.0}, "share of the peak"),
        ({"momentum": 1.0}, r"\[0, 1\), got 1.0"),
        ({"weight_decay": -1.0}, "not negative"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        OptimSettings(**values)


def test_one_dimensional_parameters_have_a_rate_of_their_own() -> None:
    """Barlow Twins: biases and norms 0.0048, weights 0.2, both x batch / 256 and scheduled."""
    settings = OptimSettings(base_lr=0.2, base_lr_1d=0.0048, warmup_epochs=2)
    optimizer = build_optimizer(Toy(), settings, batch_size=512)
    assert set_schedules(optimizer, settings, Progress(10, 100, 10)) == pytest.approx(0.2)
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates["weights"] == pytest.approx(0.2)
    assert rates["1d"] == pytest.approx(0.0048)


def test_weight_decay_follows_its_cosine_where_there_is_any() -> None:
    """DINO: 0.04 to 0.4 on weights, none on biases and norms."""
    settings = OptimSettings(name="adamw", weight_decay=0.04, final_weight_decay=0.4)
    optimizer = build_optimizer(Toy(), settings, batch_size=256)
    for step, decay in ((0, 0.04), (50, 0.22), (100, 0.4)):
        set_schedules(optimizer, settings, Progress(step, 100, 10))
        decays = {group["name"]: group["weight_decay"] for group in optimizer.param_groups}
        assert decays["weights"] == pytest.approx(decay)
        assert decays["1d"] == 0


@pytest.mark.parametrize(
    "values",
    [
        {"schedule": "steps"},
        {"drop_epochs": (120, 160)},
        {"schedule": "steps", "drop_epochs": (160, 120)},
    ],
)
def test_steps_need_rising_epochs(values: dict) -> None:
    """Drops without the schedule, the schedule without drops, or out of order: one line."""
    with pytest.raises(UsageError, match=r"optim.drop_epochs rise.*try \[120, 160\]"):
        OptimSettings(**values)
