"""A step with every tensor on another device than the host: none is mixed with it, none read back.

The device is torch's `meta`, which has shapes and no numbers: to read one is an error there, and so
is an operation on tensors of two devices. On a GPU the first would be a wait in every step, the
second the end of a run.
"""

import contextlib
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from toy_methods import TOY

from trainer.config import LoopConfig
from trainer.methods.method_table import METHODS, create_method
from trainer.methods.protocol import Progress
from trainer.optim.create_optimizer import OPTIMIZERS, OptimSettings, build_optimizer
from trainer.step import optimizer_step
from trainer.watch.monitor import CollapseMonitor

ELSEWHERE = torch.device("meta")
STEPS = (0, 5, 10, 11)  # of epochs of ten: queues are full in the last, clusters made before it


class Copies(TorchDispatchMode):
    """Counts the copies from the host that the host waits for."""

    waits = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu":
            leaves = kwargs.get("device") not in (None, torch.device("cpu"))
            self.waits += leaves and not kwargs.get("non_blocking")
        return func(*args, **kwargs)


class AnyGenerator(torch.Generator):
    """Meta tensors have no random numbers, and no generator of them."""

    def __new__(cls, device: Any = None) -> "AnyGenerator":
        return super().__new__(cls)


@pytest.mark.parametrize(
    ("name", "optimizer"), list(zip(METHODS, itertools.cycle(OPTIMIZERS), strict=False))
)
def test_a_step_mixes_no_devices_and_waits_for_none(
    name: str, optimizer: str, make_backbone, make_views, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views, teacher, queue, bank, clusters, loss, backward, clipping, optimizer, monitor."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch, "Generator", AnyGenerator)
    method = create_method(name, make_backbone(), TOY[name])
    method.prepare(16)
    method.to(ELSEWHERE).to(memory_format=torch.channels_last)
    parts: Any = SimpleNamespace(
        config=SimpleNamespace(loop=LoopConfig(batch_size=16, clip_norm=1.0)),
        method=method.train(),
        optimizer=build_optimizer(method, OptimSettings(name=optimizer), 16),
        device=ELSEWHERE,
    )
    monkeypatch.setattr("trainer.step.use_bf16", lambda *_: False)
    monitor, copies = CollapseMonitor(), Copies()
    for step in STEPS:
        views = make_views((2, 2), seed=step).to(ELSEWHERE)
        with copies:
            result = optimizer_step(method, parts, iter([views]), Progress(step, 100, 10))
            monitor.update(result.embeddings)
        assert result.loss.device == result.embeddings.device == ELSEWHERE
    assert copies.waits == 0
