"""The pace of this machine: a few steps of the real run are timed and thrown away.

`--minutes` becomes a number of epochs by it. The steps go through the run's own data, network
and optimizer, on all ranks together; nothing is written, and the run that follows starts anew.
"""

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from shards.cursor import Cursor
from shards.errors import UsageError
from shards.terminal.console import new_console
from trainer.build import Parts, build_parts, open_loader
from trainer.config import TrainConfig
from trainer.distributed import (
    data_parallel,
    is_distributed,
    on_first,
    process_group,
    rank,
    world_size,
)
from trainer.eval.features import Features
from trainer.eval.online import OnlineKnn
from trainer.eval.online_probe import online_probe
from trainer.nets.backbones import feature_dim
from trainer.optim.create_optimizer import set_schedules
from trainer.step import optimizer_step

WARM_STEPS = 2  # not timed: kernels compile, no batch has been made ahead
MEASURED_SECONDS = 6.0
MOST_STEPS = 50
FORWARD_SHARE = 1 / 3  # of a step's time, that an evaluation's forward takes
_EVALUATIONS = 3  # of a fitted run: before, halfway, at the end


@dataclass(frozen=True, slots=True)
class Pace:
    """The cost of a run's step on this machine."""

    step_s: float
    images_per_s: float
    eval_s: float  # of all evaluations
    steps_per_epoch: float

    def epochs(self, minutes: float) -> float:
        """Passes that so many minutes allow; UsageError when they do not allow a step."""
        steps = (60 * minutes - self.eval_s) / self.step_s
        if steps < 1:
            scores = f" and its kNN scores {self.eval_s:.0f} s" if self.eval_s >= 0.5 else ""
            raise UsageError(
                f"a run has at least one step, got --minutes {minutes:g}: a step takes "
                f"{self.step_s:.2g} s here{scores}; give more minutes or a smaller --arch"
            )
        return steps / self.steps_per_epoch


def join_ranks(config: TrainConfig) -> AbstractContextManager[int]:
    """The run's process group, as a context that gives the local rank; left as it is if joined."""
    if is_distributed():
        return nullcontext(torch.cuda.current_device() if torch.cuda.is_available() else 0)
    on_cuda = config.run.device != "cpu" and torch.cuda.is_available()
    return process_group("cuda" if on_cuda else "cpu", config.run.collective_seconds)


def measure_pace(config: TrainConfig, local_rank: int) -> Pace:
    """Train for a few seconds; the first rank's clock counts."""
    # backbone.weights are not read for it: a step takes as long with the seed's values.
    parts = build_parts(config, local_rank, begins=False)
    new_console(sys.stderr, quiet=rank() != 0).print("measuring how fast this machine trains ...")
    seconds = _time_steps(parts)
    step_s = on_first(lambda: seconds)
    images_per_s = config.loop.batch_size / step_s
    eval_s = _eval_s(parts, images_per_s)
    return Pace(step_s, images_per_s, eval_s, parts.timeline.steps_per_epoch)


def _time_steps(parts: Parts) -> float:
    """Seconds a step takes, the first ones apart."""
    parts.method.train()
    model = parts.method if world_size() == 1 else data_parallel(parts.method)
    ends: list[float] = []
    timeline = parts.timeline
    with open_loader(parts, Cursor(0)) as loader:
        is_over = False
        while not is_over:
            # Not step 0, whose rate may be 0 and whose method may only look.
            progress = timeline.progress(min(len(ends), timeline.total_steps - 1))
            set_schedules(parts.optimizer, parts.config.optim, progress)
            optimizer_step(model, parts, loader, progress)
            if parts.device.type == "cuda":
                torch.cuda.synchronize(parts.device)
            ends.append(time.perf_counter())
            is_over = on_first(lambda: _is_enough(ends))
    timed = ends[WARM_STEPS - 1 :]
    return (timed[-1] - timed[0]) / (len(timed) - 1)


def _is_enough(ends: list[float]) -> bool:
    if len(ends) <= WARM_STEPS:
        return False
    return len(ends) >= MOST_STEPS or ends[-1] - ends[WARM_STEPS - 1] >= MEASURED_SECONDS


def _eval_s(parts: Parts, images_per_s: float) -> float:
    """Of all scores, the untrained encoder's with a pass more for its batch statistics."""
    pixels = sum(group.count * group.size_px**2 for group in parts.policy.groups)
    one_px = FORWARD_SHARE * world_size() / (pixels * images_per_s)  # seconds, of a forward's pixel
    seconds = 0.0
    if (knn := parts.knn) is not None:
        train, test = len(knn.sets.train.ids), len(knn.sets.test.ids)
        images = _EVALUATIONS * (train + test) + train
        seconds += images * knn.views.size_px**2 * one_px
        seconds += _EVALUATIONS * _probe_s(knn, parts) if parts.config.eval.probe else 0.0
    if (label_free := parts.label_free) is not None:
        seconds += (_EVALUATIONS * label_free.pixels + label_free.centre_pixels) * one_px
    return seconds


def _probe_s(knn: OnlineKnn, parts: Parts) -> float:
    """Of one linear probe, on noise of the size of the features."""
    width, sets = feature_dim(parts.method.encoder), knn.sets
    generator = torch.Generator().manual_seed(0)
    train, test = (
        Features(
            torch.randn(len(ids), width, generator=generator).to(parts.device),
            torch.arange(len(ids), device=parts.device) % sets.num_classes,
        )
        for ids in (sets.train.ids, sets.test.ids)
    )
    began = time.perf_counter()
    online_probe(train, test)
    return time.perf_counter() - began
