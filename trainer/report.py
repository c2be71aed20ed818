"""Turns what the loop sees into records, a progress bar and warnings.

`train.py` calls `step` after every step and `record` now and then; this file knows the meter of the
loader, the collapse monitor, metrics.jsonl and the display, so that the loop stays a loop.
"""

import math
import resource
import sys
from collections.abc import Mapping

import torch

from augengine.meter import Meter
from augengine.views import Views
from shards.errors import DataError
from trainer.display import Display
from trainer.distributed import all_reduce_
from trainer.log import RunLog
from trainer.methods.protocol import Progress, StepResult
from trainer.monitor import CollapseMonitor


class Reporter:
    """One run's voice; `log` is None on ranks other than the first."""

    def __init__(self, display: Display, log: RunLog | None, meter: Meter) -> None:
        self._display = display
        self._log = log
        self._meter = meter
        self._since = meter.snapshot()
        self._monitor = CollapseMonitor()
        self._pending: tuple[int, torch.Tensor, Views] | None = None
        self._figures = (0.0, 0.0)  # images/s, wait share
        self.loss = float("nan")  # of the last step that was looked at

    def step(self, progress: Progress, result: StepResult, views: Views) -> None:
        """Take note of a step; its loss is read one step later, so the device need not wait."""
        self.check()
        self._pending = (progress.step + 1, result.loss.detach(), views)
        self._monitor.update(result.embeddings)

    def check(self) -> None:
        """Read the pending loss; DataError when it is not finite."""
        if self._pending is None:
            return
        step, loss, views = self._pending
        self._pending = None
        # The mean over ranks: what is logged is the run's loss, and all ranks stop together.
        self.loss = all_reduce_(loss.float().clone(), "mean").item()
        if not math.isfinite(self.loss):
            names = ", ".join(map(str, views.ids[:8].tolist()))
            raise DataError(
                f"the loss must stay finite, got {self.loss} at step {step} (samples {names}, "
                "...); checkpoints of earlier steps are intact: lower optim.base_lr or set "
                "loop.clip_norm=1, and start anew or from one of them"
            )
        self._show(step)

    def record(self, progress: Progress, result: StepResult, lr: float) -> None:
        """Write a record of the step that `progress` was about, and warn of a collapse."""
        self.check()
        now = self._meter.snapshot()
        recent, self._since = now - self._since, now
        self._figures = (recent.images_per_s, recent.wait_share)
        health = self._monitor.check()
        if health.warning:
            self._display.warn(f"step {progress.step + 1}: {health.warning}")
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
        self.write(progress.step + 1, values)

    def write(self, step: int, values: Mapping[str, float | int | str]) -> None:
        """A record of anything else, e.g. an evaluation."""
        if self._log is not None:
            self._log.write(step, values)

    def say(self, text: str) -> None:
        """A sentence for the person who watches."""
        self._display.say(text)

    def _show(self, step: int) -> None:
        now = self._meter.snapshot()
        recent = now - self._since
        # Figures of a moment jump about; the last record's serve until there is half a second.
        if recent.wall_s > 0.5:
            self._figures = (recent.images_per_s, recent.wait_share)
        self._display.update(step, self.loss, *self._figures)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory this process has held so far: of the GPU on cuda, else of the host."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts KiB


def _epoch_after(progress: Progress) -> float:
    return round((progress.step + 1) / progress.steps_per_epoch, 6)
