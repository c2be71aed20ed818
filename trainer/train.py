"""A run: build, maybe load, loop [batch, step, log, save, evaluate], close.

`run.py` resolves the config and calls `train`. A step is a pure function of the weights, the config
and its number: views come from the cursor, rates and momenta from Progress, random numbers from
(seed, step). So a continued run repeats the losses, on a CPU bit for bit.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import trainer.checkpoint as checkpoint
from augengine.pipeline import ViewLoader
from augengine.views import Views
from shards.cursor import Cursor
from shards.errors import UsageError
from trainer.build import Parts, build_parts
from trainer.config import LoopConfig, TrainConfig
from trainer.display import Display
from trainer.distributed import all_reduce_, process_group, rank, world_size
from trainer.interrupt import GracefulInterrupt
from trainer.log import GET_TENSORBOARD, RunLog
from trainer.methods.protocol import Progress, StepResult
from trainer.optim.build import set_schedules
from trainer.recipe import as_mapping, changed_on_resume
from trainer.report import Reporter
from trainer.rundir import open_out


@dataclass(slots=True)
class Outcome:
    """How a run ended; filled while it goes."""

    total_steps: int
    step: int  # steps done, over all starts
    exit_code: int = 0  # 128 + the signal that ended it
    loss: float = float("nan")  # of the last step
    knn: dict[int, float] = field(default_factory=dict)  # by step; step 0 is the random encoder


def train(config: TrainConfig, out: Path, *, command: str = "", resume: bool = False) -> Outcome:
    """Train to the end, or to a signal; everything it leaves is under `out`.

    Raises:
        UsageError: a setting that cannot be, or that differs from the run to be continued.
        DataError: data that cannot be read, too many bad samples, a loss that is not finite.
    """
    with ExitStack() as stack:
        on_cuda = config.run.device != "cpu" and torch.cuda.is_available()
        local_rank = stack.enter_context(process_group("cuda" if on_cuda else "cpu"))
        parts = build_parts(config, local_rank)
        step, cursor = _load(parts, out) if resume else (0, Cursor(0))
        if rank() == 0:
            open_out(out, config, command, resume=resume)
        interrupt = stack.enter_context(GracefulInterrupt())
        loader = stack.enter_context(parts.loader(cursor))
        display = Display(parts.total_steps, step, quiet=rank() != 0)
        log = stack.enter_context(RunLog(out, from_step=step)) if rank() == 0 else None
        for note in parts.notes:
            display.say(note)
        if log is not None and not log.has_events:
            display.say(GET_TENSORBOARD)
        reporter = Reporter(stack.enter_context(display), log, loader.meter)
        outcome = Outcome(parts.total_steps, step)
        _loop(parts, out, loader, reporter, interrupt, outcome)
        return outcome


def due(step: int, every: float) -> bool:
    """Whether a whole multiple of `every` steps has been passed by the last of `step` steps.

    Epochs are no whole number of steps: every 2 epochs of 93.75 steps is after 188, 375, 563, ...
    """
    return math.floor(step / every) > math.floor((step - 1) / every)


def _loop(
    parts: Parts,
    out: Path,
    loader: ViewLoader,
    reporter: Reporter,
    interrupt: GracefulInterrupt,
    outcome: Outcome,
) -> None:
    run, total = parts.config.run, parts.total_steps
    save_every = run.save_every_steps or parts.steps(run.save_every_epochs)
    eval_every = parts.steps(parts.config.eval.every_epochs)
    model = _wrap(parts)
    if outcome.step == 0:
        _evaluate(parts, reporter, outcome)
    for step in range(outcome.step, total):
        progress = parts.progress(step)
        views = next(loader)
        lr = set_schedules(parts.optimizer, parts.config.optim, progress)
        result = _step(model, parts, views, progress)
        reporter.step(progress, result, views)
        outcome.step = step + 1
        is_last = outcome.step == total
        stop = _should_stop(interrupt, parts, outcome.step)
        if due(outcome.step, run.log_every) or is_last or stop:
            reporter.record(progress, result, lr)
        if due(outcome.step, save_every) or is_last or stop:
            reporter.check()
            _save(parts, out, outcome.step, loader.cursor)
        if stop:
            break
        if due(outcome.step, eval_every) or is_last:
            _evaluate(parts, reporter, outcome)
    outcome.loss = reporter.loss
    outcome.exit_code = interrupt.exit_code if outcome.step < total else 0


def _wrap(parts: Parts) -> nn.Module:
    """The method, behind DDP when there are more ranks; calling it is calling its `step`."""
    parts.method.train()
    if world_size() == 1:
        return parts.method
    # Buffers are equal on all ranks already (synchronised statistics, a gathered queue), or a
    # rank's own on purpose (MoCo's statistics).
    return DistributedDataParallel(parts.method, broadcast_buffers=False)


def _step(model: nn.Module, parts: Parts, views: Views, progress: Progress) -> StepResult:
    """One optimizer step; whatever a method draws with torch depends on (seed, step, rank) only."""
    config, method, optimizer = parts.config, parts.method, parts.optimizer
    torch.manual_seed((config.loop.seed << 31) + progress.step * world_size() + rank())
    bf16 = use_bf16(config, parts.device)
    looks_only = method.looks_only(progress)
    with (
        torch.set_grad_enabled(not looks_only),
        torch.autocast(parts.device.type, dtype=torch.bfloat16, enabled=bf16),
    ):
        result = model(views, progress)
    if looks_only:
        return result
    optimizer.zero_grad(set_to_none=True)
    result.loss.backward()
    method.before_optimizer(progress)
    _clip_gradients(method, config.loop)
    optimizer.step()
    method.after_step(progress)
    return result


def _clip_gradients(method: nn.Module, loop: LoopConfig) -> None:
    if loop.clip_norm is None:
        return
    with_gradient = [p for p in method.parameters() if p.grad is not None]
    for tensors in [[p] for p in with_gradient] if loop.clip_each else [with_gradient]:
        nn.utils.clip_grad_norm_(tensors, loop.clip_norm)


def use_bf16(config: TrainConfig, device: torch.device) -> bool:
    """Whether the forward runs under bf16 autocast."""
    return config.loop.precision == "bf16" or (
        config.loop.precision == "auto" and device.type == "cuda"
    )


def _should_stop(interrupt: GracefulInterrupt, parts: Parts, step: int) -> bool:
    """Whether a signal came; ranks agree on it now and then, or some would wait for the others."""
    requested = interrupt.requested is not None
    if world_size() == 1:
        return requested
    if not due(step, parts.config.run.log_every):
        return False
    flag = torch.tensor(float(requested), device=parts.device)
    return bool(all_reduce_(flag, "max").item())


def _evaluate(parts: Parts, reporter: Reporter, outcome: Outcome) -> None:
    if parts.knn is None or rank() != 0 or outcome.step in outcome.knn:
        return
    encoder = parts.method.encoder
    random = outcome.step == 0
    accuracy = parts.knn.random_encoder(encoder) if random else parts.knn(encoder)
    outcome.knn[outcome.step] = accuracy
    epoch = round(outcome.step / parts.steps_per_epoch, 6)
    reporter.write(outcome.step, {"epoch": epoch, "knn": accuracy})
    what = "a random encoder" if random else f"epoch {epoch:g}"
    reporter.say(f"kNN of {what}: {accuracy:.1%} ({parts.knn.describe()})")


def _save(parts: Parts, out: Path, step: int, cursor: Cursor) -> None:
    if rank() != 0:
        return
    state = {
        "step": step,
        "cursor": cursor.state_dict(),
        "method": parts.method.state_dict(),
        "optimizer": parts.optimizer.state_dict(),
        "seed": parts.config.loop.seed,
        "data_fingerprint": parts.index.fingerprint,
        "config": as_mapping(parts.config),
        "torch_version": str(torch.__version__),
    }
    checkpoint.save(out, state, keep=parts.config.run.keep)


def _load(parts: Parts, out: Path) -> tuple[int, Cursor]:
    """Put the last checkpoint into the parts; UsageError when it belongs to another run."""
    state = checkpoint.load(checkpoint.find(out), parts.device)
    changed = changed_on_resume(state["config"], parts.config)
    if changed:
        raise UsageError(
            f"a run continues with the config it began with, got {'; '.join(changed)}; leave the "
            f"change out, or start another run with another --out"
        )
    if state["data_fingerprint"] != parts.index.fingerprint:
        raise UsageError(
            f"a run continues on the images it began with, got others in {parts.index.directory} "
            f"(fingerprint {parts.index.fingerprint[:12]}, not {state['data_fingerprint'][:12]}); "
            "give the former --data"
        )
    parts.method.load_state_dict(state["method"])
    parts.optimizer.load_state_dict(state["optimizer"])
    return state["step"], Cursor.from_state_dict(state["cursor"])
