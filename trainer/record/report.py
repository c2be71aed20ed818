"""The reporter of a run: turns a step into lists of samples, records, a bar and warnings.

The loop calls `step` after every optimizer step, and nothing else that writes. A step's samples are
on the disk before its losses are read; ranks read theirs together, and the loop saves after that.
So a checkpoint is of steps whose samples all ranks have written down.
"""

import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from augengine.loader.meter import Meter, MeterSnapshot
from trainer.distributed import world_size
from trainer.methods.protocol import Progress, StepResult
from trainer.record.display import FIRST_STEPS, Display, Speed
from trainer.record.log import RunLog
from trainer.record.samplelog import SampleLog
from trainer.setup.timeline import due
from trainer.terms.beside_step import OWN_LOSS
from trainer.watch.guards import CHECK_EVERY, Guard
from trainer.watch.interrupt import GracefulInterrupt
from trainer.watch.monitor import CollapseMonitor
from trainer.watch.standstill import Standstill


@dataclass(slots=True)
class Reporter:
    """One run's voice; `log` is None on ranks other than the first."""

    display: Display
    log: RunLog | None
    samples: SampleLog
    meter: Meter  # of the loader
    guard: Guard
    standstill: Standstill
    interrupt: GracefulInterrupt
    log_every: int  # steps
    loss: float = field(default=float("nan"), init=False)  # of the last step that was looked at
    _monitor: CollapseMonitor = field(default_factory=CollapseMonitor, init=False)
    _since: MeterSnapshot = field(init=False)  # when the last record was written
    _num_steps: int = field(default=0, init=False)  # of this start
    _after_first: MeterSnapshot | None = field(default=None, init=False)  # until the first record
    _speed: Speed | None = field(default=None, init=False)  # not known yet

    def __post_init__(self) -> None:
        self._since = self.meter.snapshot()

    def step(
        self,
        progress: Progress,  # that the step was taken with
        lr: float,
        result: StepResult,
        *,
        must_look: bool,  # the loop saves or scores what the step made
    ) -> int:
        """Write a step down; returns the signal that any rank got, once all ranks know, else 0.

        Raises:
            DataError: a loss or a weight is not finite, or the disk is full.
        """
        self.note(progress, result)
        step = progress.step + 1
        logs = step == progress.total_steps or due(step, self.log_every)
        # Several ranks look at the same steps, or some would wait for the others.
        alone = world_size() == 1 and self.interrupt.number
        signal = 0
        if alone or logs or must_look or due(step, CHECK_EVERY):
            signal = self.check()
        self._show(step)
        if logs or signal:
            self._record(progress, result, lr)
        return signal

    def note(self, progress: Progress, result: StepResult) -> None:
        """Take note of a step; does not wait for the device."""
        self.samples.add_step(progress.step + 1, result.origins)
        self.guard.note(progress.step + 1, result.loss)
        self._monitor.update(result.embeddings)
        self._num_steps += 1
        if self._num_steps == FIRST_STEPS:
            self._after_first = self.meter.snapshot()

    def check(self) -> int:
        """Read the losses so far, DataError when one is not finite; the signal that any rank got.

        All ranks call it after the same steps.
        """
        loss, signal = self.guard.check(self.interrupt.number, self.samples.replaced_ids)
        self.loss = self.loss if loss is None else loss
        return signal

    def _record(self, progress: Progress, result: StepResult, lr: float) -> None:
        """Write a record of the step that `progress` was about, and warn of a collapse."""
        now = self.meter.snapshot()
        recent = self._recent(now)
        self._since, self._after_first = now, None
        if self._num_steps > FIRST_STEPS:
            self._speed = Speed(recent.images_per_s, recent.wait_share)
        health = self._monitor.check()
        values: dict[str, float | int | str] = {
            "epoch": _epoch_after(progress),
            "loss": self.loss,
            "lr": lr,
            "images_per_s": recent.images_per_s,
            "data_wait": recent.wait_share,
            "peak_memory_mib": peak_memory_bytes(result.loss.device) / 2**20,
            "std": health.std,
            "rank": health.rank,
            "bad_samples": now.bad_samples,
        }
        values |= {name: float(value) for name, value in result.metrics.items()}
        if (constant := self.standstill.constant_loss) is not None:
            values["constant_loss"] = constant
        step = progress.step + 1
        own = float(result.metrics.get(OWN_LOSS, self.loss))
        values |= self._warn(step, health.warning, self.standstill.look(step, own))
        self.write(step, values)

    def record_score(
        self,
        step: int,
        values: Mapping[str, float | int | str],
        random_knn: float,  # of the untrained encoder
        num_images: int,  # that were scored
    ) -> None:
        """Write a record of a kNN score, and warn of a poor one."""
        knn = float(values["knn"])
        word = self.standstill.score(step, knn, random_knn, num_images)
        self.write(step, {**values, **self._warn(step, word)})

    def record_measures(
        self,
        step: int,
        values: Mapping[str, float | int | str],
        problem: str | None,  # why some are missing
    ) -> None:
        """Write a record of label-free measures, and warn where there are none."""
        self.write(step, {**values, **self._warn(step, problem)})

    def _warn(self, step: int, *texts: str | None) -> dict[str, str]:
        """Say them, and what of them is to be written."""
        said = [text for text in texts if text]
        for text in said:
            self.display.warn(f"step {step}: {text}")
        return {"warning": "; ".join(said)} if said else {}

    def write(self, step: int, values: Mapping[str, float | int | str]) -> None:
        """A record of anything else, e.g. an evaluation."""
        if self.log is not None:
            self.log.write(step, values)

    @property
    def is_still(self) -> bool:
        """Whether the last loss is one that a constant output has."""
        return self.standstill.is_near

    def is_stopped(self) -> bool:
        """Whether this rank got a signal: an evaluation is then given up."""
        return self.interrupt.number != 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The body is no training: its time counts neither for img/s nor for the time left."""
        with self.meter.paused(), self.display.paused():
            yield

    def say(self, text: str) -> None:
        """A sentence for the person who watches."""
        self.display.say(text)

    def _show(self, step: int) -> None:
        """Move the bar; the loss is that of the last check."""
        now = self.meter.snapshot()
        recent = self._recent(now)
        # Figures of a moment jump about; the last record's serve until there is half a second.
        if recent.wall_s > 0.5 and self._num_steps > FIRST_STEPS:
            self._speed = Speed(recent.images_per_s, recent.wait_share)
        self.display.update(step, self.loss, self._speed, self.standstill.constant_loss)

    def _recent(self, now: MeterSnapshot) -> MeterSnapshot:
        """Since the last record, or since the first steps of this start, which were slow."""
        first = self._after_first
        return now - (self._since if first is None or first.images == now.images else first)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory this process has held so far: of the GPU on cuda, else of the host."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts KiB


def _epoch_after(progress: Progress) -> float:
    return round((progress.step + 1) / progress.steps_per_epoch, 6)
