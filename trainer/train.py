"""A run: build, maybe load, loop [batch, step, log, save, evaluate], close.

`run.py` resolves the config and calls `train`. A step is a pure function of the weights, the config
and its number: views come from the cursor, rates and momenta from Progress, random numbers from
(seed, step). So a continued run repeats the losses, on a CPU bit for bit.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

import trainer.checkpoint as checkpoint
from augengine.views import Views
from shards.cursor import Cursor
from trainer.badlog import BadLog
from trainer.build import Parts, build_parts
from trainer.config import TrainConfig
from trainer.continuation import describe_length, refuse_another_run
from trainer.display import Display
from trainer.distributed import data_parallel, from_first, process_group, rank, world_size
from trainer.guards import CHECK_EVERY, Guard
from trainer.idlog import IdLog
from trainer.interrupt import GracefulInterrupt
from trainer.log import GET_TENSORBOARD, RunLog, read_metrics
from trainer.optim.build import set_schedules
from trainer.recipe import as_mapping
from trainer.report import Reporter
from trainer.rundir import open_out
from trainer.starts import describe_start
from trainer.step import optimizer_step


@dataclass(slots=True)
class Outcome:
    """How a run ended; filled while it goes."""

    total_steps: int
    step: int  # steps done, over all starts
    exit_code: int = 0  # 128 + the signal that ended it
    loss: float = float("nan")  # of the last step
    knn: dict[int, float] = field(default_factory=dict)  # by step; step 0 is the random encoder

    @property
    def best_step(self) -> int | None:
        """The step of the trained encoder with the highest kNN score; None before there is one."""
        return max((step for step in self.knn if step), key=self.knn.__getitem__, default=None)


def train(
    config: TrainConfig,
    out: Path,
    *,
    command: str = "",
    notes: Sequence[str] = (),  # of what led to the config: said, and kept with the start
    resume: bool = False,
) -> Outcome:
    """Train to the end, or to a signal; everything it leaves is under `out`.

    Raises:
        UsageError: a setting that cannot be, or that differs from the run to be continued.
        DataError: data that cannot be read or stalls, too many bad samples, a loss that is not
            finite, a disk that is full, another rank that has ended.
    """
    with ExitStack() as stack:
        on_cuda = config.run.device != "cpu" and torch.cuda.is_available()
        group = process_group("cuda" if on_cuda else "cpu", config.run.collective_seconds)
        parts = build_parts(config, stack.enter_context(group))
        warnings: list[str] = []
        step, cursor = _load(parts, out, resume, warnings.append)
        if rank() == 0:
            start = describe_start(parts, command, step, [*notes, *warnings])
            open_out(out, config, start, resume=step is not None)
        from_first(0, parts.device)  # nobody looks into the folder before it is ready
        outcome = Outcome(parts.total_steps, step or 0)
        interrupt = stack.enter_context(GracefulInterrupt())
        loader = stack.enter_context(parts.loader(cursor))
        display = Display(parts.total_steps, outcome.step, quiet=rank() != 0)
        log = stack.enter_context(RunLog(out, from_step=outcome.step)) if rank() == 0 else None
        for text in warnings:
            display.warn(text)
        for note in (*notes, *parts.notes):
            display.say(note)
        if log is not None and not log.has_events:
            display.say(GET_TENSORBOARD)
        if log is not None:
            outcome.knn = {r["step"]: r["knn"] for r in read_metrics(out) if "knn" in r}
        bad_log = stack.enter_context(BadLog(out, from_step=outcome.step))
        batches = bad_log.watch(loader, config.loop.batch_size)
        if config.run.record_ids:
            id_log = stack.enter_context(IdLog(out, from_step=outcome.step))
            batches = id_log.watch(batches, loader, config.loop.batch_size)
        reporter = Reporter(stack.enter_context(display), log, loader, Guard(parts, out))
        _loop(parts, out, batches, reporter, interrupt, outcome)
        return outcome


def due(step: int, every: float) -> bool:
    """Whether a whole multiple of `every` steps has been passed by the last of `step` steps.

    Epochs are no whole number of steps: every 2 epochs of 93.75 steps is after 188, 375, 563, ...
    """
    return math.floor(step / every) > math.floor((step - 1) / every)


def _loop(
    parts: Parts,
    out: Path,
    batches: Iterator[Views],
    reporter: Reporter,
    interrupt: GracefulInterrupt,
    outcome: Outcome,
) -> None:
    run, total = parts.config.run, parts.total_steps
    save_every = run.save_every_steps or parts.steps(run.save_every_epochs)
    cadences = (run.log_every, save_every, parts.steps(parts.config.eval.every_epochs))
    model = _wrap(parts)
    signal = 0  # that any rank got, once all know
    if outcome.step == 0:
        _evaluate(parts, reporter, outcome)
    for step in range(outcome.step, total):
        progress = parts.progress(step)
        lr = set_schedules(parts.optimizer, parts.config.optim, progress)
        result = optimizer_step(model, parts, batches, progress)
        outcome.step = step + 1
        reporter.step(progress, result)
        is_last = outcome.step == total
        logs, saves, scores = (is_last or due(outcome.step, every) for every in cadences)
        # Several ranks look at the same steps, or some would wait for the others.
        alone = world_size() == 1 and interrupt.number
        if alone or logs or saves or scores or due(outcome.step, CHECK_EVERY):
            signal = reporter.check(interrupt.number)
        reporter.show(outcome.step)
        if logs or signal:
            reporter.record(progress, result, lr)
        if saves or signal:
            _save(parts, out, outcome)
        if signal:
            break
        if scores and _evaluate(parts, reporter, outcome):
            if not saves:
                _save(parts, out, outcome)
            checkpoint.mark_best(out, outcome.step)
    outcome.loss = reporter.loss
    outcome.exit_code = 128 + signal if outcome.step < total else 0  # the shell's convention


def _wrap(parts: Parts) -> nn.Module:
    """The method, behind DDP when there are more ranks; calling it is calling its `step`."""
    parts.method.train()
    return parts.method if world_size() == 1 else data_parallel(parts.method)


def _evaluate(parts: Parts, reporter: Reporter, outcome: Outcome) -> bool:
    """Score the encoder, on the first rank; whether it is the best one so far."""
    if parts.knn is None or rank() != 0 or outcome.step in outcome.knn:
        return False
    encoder = parts.method.encoder
    random = outcome.step == 0
    accuracy = parts.knn.random_encoder(encoder) if random else parts.knn(encoder)
    is_best = not random and accuracy > outcome.knn.get(outcome.best_step or -1, -1.0)
    outcome.knn[outcome.step] = accuracy
    epoch = round(outcome.step / parts.steps_per_epoch, 6)
    reporter.write(outcome.step, {"epoch": epoch, "knn": accuracy})
    what = "a random encoder" if random else f"epoch {epoch:.4g}"
    reporter.say(f"kNN of {what}: {accuracy:.1%} ({parts.knn.describe()})")
    return is_best


def _save(parts: Parts, out: Path, outcome: Outcome) -> None:
    if rank() != 0:
        return
    state = {
        "step": outcome.step,
        "cursor": parts.cursor(outcome.step).state_dict(),
        "method": parts.method.state_dict(),
        "optimizer": parts.optimizer.state_dict(),
        "seed": parts.config.loop.seed,
        "data_fingerprint": parts.index.fingerprint,
        "config": as_mapping(parts.config),
        "torch_version": str(torch.__version__),
    }
    checkpoint.save(out, state, keep=parts.config.run.keep, best=outcome.best_step)


def _load(
    parts: Parts, out: Path, resume: bool, warn: Callable[[str], None]
) -> tuple[int | None, Cursor]:
    """Put the checkpoint that the first rank takes into the parts; no step: none is to be taken."""
    state = None
    # To the host: what belongs on the device is copied there, and Adam's step counts stay where no
    # step has to wait for them.
    if resume and rank() == 0:
        state = checkpoint.load_newest(out, warn)
    step = from_first(-1 if state is None else state["step"], parts.device)
    if step < 0:
        return None, Cursor(0)
    if state is None:
        state = checkpoint.load_step(out, step)
    refuse_another_run(parts, state)
    if length := describe_length(state["config"], parts, step):
        warn(length)
    parts.method.load_state_dict(state["method"])
    parts.optimizer.load_state_dict(state["optimizer"])
    return step, Cursor.from_state_dict(state["cursor"])


if __name__ == "__main__":
    sys.exit("error: this file is the loop, not the command; run python -m trainer.run")
