"""The figures of a record are of training at its speed: no compile, no evaluation."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from augengine.loader.meter import Meter
from trainer.methods.protocol import Progress, StepResult
from trainer.record.display import Display
from trainer.record.report import Reporter
from trainer.watch.interrupt import GracefulInterrupt


def make_reporter(
    log_every: int,
    written: list[dict[str, Any]],  # takes the records
    looked: list[float],  # takes the losses that are judged
    meter: Meter,
) -> Reporter:
    """Of six steps, each with a loss of 0.5."""
    log: Any = SimpleNamespace(write=lambda step, values: written.append(values))
    guard: Any = SimpleNamespace(
        note=lambda step, loss: None, check=lambda signal, bad_ids: (0.5, signal)
    )
    samples: Any = SimpleNamespace(add_step=lambda step, origins: None, replaced_ids=())
    still: Any = SimpleNamespace(constant_loss=None, look=lambda step, loss: looked.append(loss))
    return Reporter(
        Display(6, quiet=True),
        log,
        samples,
        meter=meter,
        guard=guard,
        standstill=still,
        interrupt=GracefulInterrupt(),
        log_every=log_every,
    )


def speeds(log_every: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Images a second by the records of six steps: 8 images in a minute, then in a second each."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("augengine.loader.meter.time.perf_counter", lambda: clock.now)
    written: list[dict[str, Any]] = []
    meter = Meter()
    reporter = make_reporter(log_every, written, [], meter)
    result = StepResult(torch.zeros(()), torch.randn(8, 4), {})
    for step in range(6):
        meter.delivered(8, 8)
        clock.now += 60.0 if step == 0 else 1.0
        reporter.step(Progress(step, 6, 6.0), 0.1, result, must_look=False)
        with reporter.paused():
            clock.now += 1000.0  # an evaluation
    return [values["images_per_s"] for values in written]


def test_the_first_steps_and_evaluations_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six steps of a record: four of them count."""
    assert speeds(6, monkeypatch) == pytest.approx([8.0])
    assert speeds(3, monkeypatch) == pytest.approx([8.0, 8.0])


def test_a_record_of_first_steps_alone_is_what_they_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other figure yet."""
    assert speeds(1, monkeypatch) == pytest.approx([8 / 60] + [8.0] * 5)
    assert speeds(2, monkeypatch) == pytest.approx([16 / 61, 8.0, 8.0])


def test_what_is_judged_is_the_loss_without_terms() -> None:
    """A record has both, and the whole loss where no term adds to it."""
    written: list[dict[str, Any]] = []
    looked: list[float] = []
    meter = Meter()
    reporter = make_reporter(1, written, looked, meter)
    for step, metrics in enumerate([{}, {"term_x": 0.25, "method_loss": torch.tensor(0.25)}]):
        meter.delivered(8, 8)
        result = StepResult(torch.zeros(()), torch.randn(8, 4), metrics)
        reporter.step(Progress(step, 6, 6.0), 0.1, result, must_look=False)
    assert looked == [0.5, 0.25]
    assert [values["loss"] for values in written] == [0.5, 0.5]
    assert written[1]["method_loss"] == 0.25
