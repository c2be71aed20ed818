"""Rates that fall from block to block of the backbone: whose, by how much, in which order."""

from pathlib import Path

import pytest
from tiny_run import tiny_config

from shards.errors import UsageError
from trainer.methods.protocol import Progress
from trainer.optim.create_optimizer import OptimSettings, build_optimizer, set_schedules
from trainer.optim.groups import parameter_groups
from trainer.setup.networks import build_method


def test_a_block_down_is_a_factor_down(tmp_path: Path) -> None:
    """Block i of n has lr d^(n - i), the stem lr d^(n + 1), heads lr (MAE's util/lr_decay.py)."""
    config = tiny_config(tmp_path, "simsiam")
    method = build_method(config, config.policy.load())
    settings = OptimSettings(name="sgd", base_lr=0.2, layer_decay=0.5, warmup_epochs=0)
    optimizer = build_optimizer(method, settings, 256)
    rates = {
        id(parameter): group["peak_lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    named = dict(method.named_parameters())
    for name, power in (
        ("projector.0.weight", 0), ("backbone.layer4.0.conv1.weight", 1),
        ("backbone.layer4.0.bn1.bias", 1), ("backbone.layer1.0.conv1.weight", 4),
        ("backbone.conv1.weight", 5), ("backbone.bn1.weight", 5),
    ):  # fmt: skip
        assert rates[id(named[name])] == pytest.approx(0.2 * 0.5**power)
    # The rate that is logged is that of what is not held back.
    assert set_schedules(optimizer, settings, Progress(0, 10, 5.0)) == pytest.approx(0.2)


def test_without_it_the_groups_are_the_former_ones(tmp_path: Path) -> None:
    """Checkpoints of earlier releases hold four groups of these names."""
    config = tiny_config(tmp_path, "simsiam")
    method = build_method(config, config.policy.load())
    settings = {"lr": 1.0, "weight_decay": 0.1, "decay_1d": False, "adapt_1d": False}
    groups = parameter_groups(method, **settings, constant_lr=method.constant_lr)
    names = ["weights", "1d", "constant_weights", "constant_1d"]
    assert [group["name"] for group in groups] == names


@pytest.mark.parametrize("decay", [0.0, 1.1])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    """It is a share of the rate above."""
    with pytest.raises(UsageError, match=r"optim.layer_decay lies in \(0, 1\], got"):
        OptimSettings(layer_decay=decay)
