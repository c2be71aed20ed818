"""A run: build, maybe load, loop [batch, step, record, save, evaluate], close.

`run.py` resolves the config and calls `train`. A step is a pure function of the weights, the config
and its number: views come from the cursor, rates and momenta from Progress, random numbers from
(seed, step). So a continued run repeats the losses, on a CPU bit for bit.
"""

import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

import trainer.checkpoint as checkpoint
from augengine.loader.view_loader import ViewLoader
from shards.cursor import Cursor
from trainer.build import Parts, build_parts, open_loader
from trainer.config import TrainConfig
from trainer.distributed import data_parallel, on_first, rank, world_size
from trainer.fitted.pace import join_ranks
from trainer.optim.create_optimizer import set_schedules
from trainer.recipes.recipe import as_mapping
from trainer.record.continuation import describe_length, refuse_another_run
from trainer.record.display import Display
from trainer.record.header import describe_run
from trainer.record.log import RunLog
from trainer.record.report import Reporter
from trainer.record.reweighted import with_past
from trainer.record.rundir import open_out
from trainer.record.samplelog import SampleLog
from trainer.record.scores import Scores
from trainer.record.starts import describe_start
from trainer.setup.compiled import compile_networks
from trainer.setup.timeline import due
from trainer.step import optimizer_step
from trainer.watch.footprint import weigh
from trainer.watch.guards import Guard, odd_tensors
from trainer.watch.interrupt import GracefulInterrupt
from trainer.watch.standstill import Standstill


@dataclass(slots=True)
class Outcome:
    """The end of a run; filled while it goes."""

    total_steps: int
    step: int  # steps done, over all starts
    cursor: Cursor  # behind the samples of those
    exit_code: int = 0  # 128 + the signal that ended it
    loss: float = float("nan")  # of the last step
    is_still: bool = False  # the loss is one that a constant output has
    knn: dict[int, float] = field(default_factory=dict)  # by step; step 0 is before training

    @property
    def best_step(self) -> int | None:
        """The step of the trained encoder with the highest kNN score; None before there is one."""
        return max((step for step in self.knn if step), key=self.knn.__getitem__, default=None)


def train(
    config: TrainConfig,
    out: Path | str,
    *,
    command: str = "",
    notes: Sequence[str] = (),  # of what led to the config: said, and kept with the start
    resume: bool = False,
    overwrite: bool = False,  # replace a former run in `out`
) -> Outcome:
    """Train to the end, or to a signal; everything it leaves is under `out`.

    Ranks may come with folders of their own, named by the time each was started: all of them take
    the first rank's, and whether to resume there.

    Raises:
        UsageError: a setting that cannot be, or differs from the run to be continued; a full `out`.
        DataError: data that cannot be read or stalls, too many bad samples, a loss that is not
            finite, a disk that is full, another rank that has ended.
    """
    with ExitStack() as stack:
        local_rank = stack.enter_context(join_ranks(config))
        out = on_first(lambda: Path(out))
        begins = on_first(lambda: not resume)
        parts = build_parts(config, local_rank, begins=begins)
        warnings: list[str] = []
        odd = odd_tensors(parts.method)
        parts, step, cursor = _load(parts, out, resume, odd, warnings.append)
        guard = Guard(parts, out, odd)
        warnings += parts.warnings
        footprint = weigh(parts)
        start = describe_start(parts, command, step, [*notes, *warnings])
        opened = open_out(out, parts.config, start, resume=resume, overwrite=overwrite)
        on_first(lambda: stack.enter_context(opened))
        outcome = Outcome(parts.timeline.total_steps, step or 0, cursor)
        interrupt = stack.enter_context(GracefulInterrupt(quiet=rank() != 0))
        loader = stack.enter_context(open_loader(parts, cursor))
        display = Display(outcome.total_steps, outcome.step, quiet=rank() != 0)
        log = None
        if rank() == 0:
            settings = (config.run.loggers, as_mapping(parts.config))
            log = RunLog(out, *settings, from_step=outcome.step, warn=display.warn)
            stack.enter_context(log)
        for note in (*notes, describe_run(parts, footprint, outcome.step)):
            display.say(note)
        for text in warnings:
            display.warn(text)
        for note in parts.notes:
            display.say(note)
        samples = SampleLog(out, from_step=outcome.step, record_ids=config.run.record_ids)
        reporter = Reporter(
            stack.enter_context(display),
            log,
            stack.enter_context(samples),
            meter=loader.meter,
            guard=guard,
            standstill=Standstill(parts),
            interrupt=interrupt,
            log_every=config.run.log_every,
        )
        scores = Scores(parts, out, reporter)
        outcome.knn = scores.by_step
        save = Saver(parts, out, outcome, saved_step=step)
        try:
            _loop(parts, loader, reporter, scores, save, outcome)
        finally:
            # A batch over the budget is never given: what it met is known to the loader alone.
            samples.add_bad(outcome.step + 1, loader.bad_samples)
        return outcome


def _loop(
    parts: Parts,
    loader: ViewLoader,
    reporter: Reporter,
    scores: Scores,
    save: "Saver",
    outcome: Outcome,
) -> None:
    config, timeline = parts.config, parts.timeline
    save_every = config.run.save_every_steps or timeline.steps(config.run.save_every_epochs)
    score_every = timeline.steps(config.eval.every_epochs)
    model = _wrap(parts, reporter.say)
    signal = 0  # that any rank got, once all know
    if outcome.best_step:
        save()  # best.pt, should a kill have come between the score and its name
    while True:
        if scores.due(outcome.step):
            is_made = scores.make(outcome.step)
            if not is_made:
                signal = reporter.check()
            if not is_made or outcome.step == outcome.best_step:
                save()
        if signal or outcome.step == outcome.total_steps:
            break
        progress = timeline.progress(outcome.step)
        lr = set_schedules(parts.optimizer, config.optim, progress)
        result = optimizer_step(model, parts, loader, progress)
        outcome.step, outcome.cursor = outcome.step + 1, result.origins[-1].cursor
        is_last = outcome.step == outcome.total_steps
        saves, scored = (is_last or due(outcome.step, every) for every in (save_every, score_every))
        signal = reporter.step(progress, lr, result, must_look=saves or scored)
        if saves or signal:
            save()
        if signal:
            break
    outcome.loss, outcome.is_still = reporter.loss, reporter.is_still
    is_whole = outcome.step == outcome.total_steps and not scores.due(outcome.step)
    outcome.exit_code = 0 if is_whole else 128 + signal  # the shell's convention


def _wrap(parts: Parts, say: Callable[[str], None]) -> nn.Module:
    """The method, behind DDP when there are more ranks; calling it is calling its `step`."""
    parts.method.train()
    if parts.config.loop.compile:
        say(compile_networks(parts.method))
    return parts.method if world_size() == 1 else data_parallel(parts.method)


class Saver:
    """Writes checkpoints of a run, on the first rank."""

    def __init__(self, parts: Parts, out: Path, outcome: Outcome, saved_step: int | None) -> None:
        self._parts = parts
        self._out = out
        self._outcome = outcome
        self._saved_step = saved_step  # of the newest checkpoint

    def __call__(self) -> None:
        """Save the run as it is, if that has not been done, and let best.pt name the best."""
        on_first(self._save)
        self._saved_step = self._outcome.step

    def _save(self) -> None:
        parts, outcome = self._parts, self._outcome
        if self._saved_step == outcome.step:
            if outcome.best_step is not None:
                checkpoint.mark_best(self._out, outcome.best_step)
            return
        state = {
            "step": outcome.step,
            "cursor": outcome.cursor.state_dict(),
            "method": parts.method.state_dict(),
            "optimizer": parts.optimizer.state_dict(),
            "seed": parts.config.loop.seed,
            "data_fingerprint": parts.index.fingerprint,
            "config": as_mapping(parts.config),
            "torch_version": str(torch.__version__),
        }
        checkpoint.save(self._out, state, keep=parts.config.run.keep, best=outcome.best_step)


def _load(
    parts: Parts,
    out: Path,
    resume: bool,
    may_be_odd: Collection[str],  # tensors of the method that hold NaN or infinity on purpose
    warn: Callable[[str], None],
) -> tuple[Parts, int | None, Cursor]:
    """Put the checkpoint that the first rank takes into the parts; no step: none is to be taken."""
    state = None

    def newest() -> int | None:
        nonlocal state
        if not resume:
            return None
        # To the host: what belongs on the device is copied there, and Adam's step counts stay where
        # no step has to wait for them.
        state = checkpoint.load_newest(out, warn, may_be_odd)
        return state["step"]

    step = on_first(newest)
    if step is None:
        return parts, None, Cursor(0)
    if state is None:
        state = checkpoint.load_step(out, step)
    refuse_another_run(parts, state)
    parts, reweighted = with_past(parts, state)
    if reweighted:
        warn(reweighted)
    if length := describe_length(state["config"], parts, step):
        warn(length)
    parts.method.load_state_dict(state["method"])
    parts.optimizer.load_state_dict(state["optimizer"])
    return parts, step, Cursor.from_state_dict(state["cursor"])


if __name__ == "__main__":
    sys.exit("error: this file is the loop, not the command; run python -m trainer.run")
