"""What the papers say collapses without a part does, and the monitor says so in words."""

from typing import Any

import pytest
import torch

from trainer.methods.method_table import create_method
from trainer.methods.protocol import Progress
from trainer.watch.monitor import CollapseMonitor

SIMSIAM = {"out_dim": 128, "predictor_dim": 32, "projector_layers": 2}
BYOL = {"hidden_dim": 32, "out_dim": 16, "momentum": 0.5}


def warnings(name: str, settings: dict[str, Any], make_backbone, make_views) -> list[str]:
    """What the monitor says in the course of a training, checked every ten steps."""
    backbone = make_backbone()
    torch.manual_seed(1)
    method = create_method(name, backbone, settings)
    parameters = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.3, momentum=0.9)
    monitor, said = CollapseMonitor(capacity=256), []
    for step in range(STEPS):
        progress = Progress(step, STEPS, steps_per_epoch=10)
        result = method(make_views(seed=step, noise=1.0), progress)
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
        method.after_step(progress)
        monitor.update(result.embeddings)
        warning = monitor.check().warning if step % 10 == 9 else None
        said += [warning] if warning else []
    return said


STEPS = 300


@pytest.mark.parametrize(
    ("name", "whole", "part"),
    [
        ("simsiam", SIMSIAM, "stop_gradient"),
        ("simsiam", SIMSIAM, "predictor"),
        ("byol", BYOL, "predictor"),
    ],
)
def test_it_collapses_without_the_part_and_not_with_it(
    name: str, whole: dict[str, Any], part: str, make_backbone, make_views
) -> None:
    """SimSiam without stop-gradient or predictor, BYOL without a predictor: one point, and said."""
    assert warnings(name, whole, make_backbone, make_views) == []
    said = warnings(name, whole | {part: False}, make_backbone, make_views)
    assert said
    assert "embedding" in said[0]
