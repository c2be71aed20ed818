"""Reads losses and weights now and then, not after every step, and names the step that went wrong.

Every step leaves two numbers on the device: its loss, and the total magnitude of the weights,
buffers and optimizer state it made. `check` reads those of all ranks at once, so the host waits for
the device every few steps only; the loop checks before it saves, so what is saved is finite. What a
step saw is a pure function of its number: when one of its numbers is not finite its images and
their plan are computed again, and the plan is saved for a look at the views (`tools/show_views.py
--plan`). Ranks agree in the same exchange on whether one was told to stop.
"""

import shlex
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from augengine.draw import draw_plan
from augengine.heavy.heavy_plan import HeavyPlan
from augengine.loader.batches import MAX_SUBSTITUTES
from augengine.plan import Plan
from shards.errors import DataError
from shards.index import sizes_of
from shards.samples.masks import masked
from trainer.build import Parts
from trainer.distributed import gather_rows, rank, world_size
from trainer.nets.finite import not_finite, total_magnitude

_NOT_OF_IMAGES = ("group", "size_px", "kernel_px", "bicubic", "mean", "std", "heavy")
Part = TypeVar("Part", Plan, HeavyPlan)
CHECK_EVERY = 10  # steps at most, whatever run.log_every


def odd_tensors(method: nn.Module) -> frozenset[str]:
    """The tensors of a method that hold NaN or infinity on purpose, before its first step."""
    return frozenset(not_finite(method.state_dict()))


class Guard:
    """The losses and weights since the last check."""

    def __init__(self, parts: Parts, out: Path, odd: frozenset[str] | None = None) -> None:
        """`odd` are the tensors that are not finite before any step; None: they are so now."""
        self._parts = parts
        self._out = out
        self._first_step = 0  # of those below
        self._losses: list[torch.Tensor] = []
        self._weights: list[torch.Tensor] = []  # total magnitude after each step
        # A mask, or what a method sets later: InstDisc's constant. Nobody can tell these from an
        # overflow, so they are not watched.
        self.odd = odd_tensors(parts.method) if odd is None else odd

    def note(self, step: int, loss: torch.Tensor) -> None:
        """Keep the loss of step `step`, counted from 1, and look at the weights that it made.

        Does not wait for the device.
        """
        if not self._losses:
            self._first_step = step
        self._losses.append(loss.detach().float())
        # The optimizer's too: a second moment that is infinite keeps its weight for ever.
        watched = {k: v for k, v in self._parts.method.state_dict().items() if k not in self.odd}
        state = (watched, list(self._parts.optimizer.state.values()))
        self._weights.append(total_magnitude(state))

    def check(self, signal: int, bad_ids: Collection[int]) -> tuple[float | None, int]:
        """Read losses and weights; every rank calls it after the same step.

        Args:
            signal: the number of the one that this rank got, 0 for none.
            bad_ids: samples that had to be replaced.

        Returns:
            The last loss, a mean over ranks (None: nothing is new), and the signal of any rank.

        Raises:
            DataError: a loss or a weight is not finite.
        """
        if not self._losses and world_size() == 1:
            return None, signal
        mine = torch.tensor([signal], dtype=torch.float32, device=self._parts.device)
        numbers = torch.stack([*self._losses, *self._weights, mine[0]])
        everyone = gather_rows(numbers[None]).cpu()  # [W, 2 x steps + 1]
        losses, weights = everyone[:, :-1].chunk(2, dim=1)
        signal = int(everyone[:, -1].max())
        self._losses, self._weights = [], []
        for i in range(losses.shape[1]):
            for what, values in (("loss", losses[:, i]), ("weights", weights[:, i])):
                if not bool(values.isfinite().all()):
                    self._stop(
                        what, values, self._first_step + i, float(losses[:, i].mean()), bad_ids
                    )
        return (float(losses[:, -1].mean()) if losses.numel() else None), signal

    def _stop(
        self,
        what: str,  # is not finite
        values: torch.Tensor,  # [W] - what each rank got
        step: int,
        loss: float,  # of the step, a mean over the ranks
        bad_ids: Collection[int],
    ) -> None:
        ranks = np.flatnonzero(~values.isfinite().numpy()).tolist()
        plan = redraw(self._parts, step, ranks, bad_ids)
        path = self._out / f"nonfinite-step-{step}.npz"
        if rank() == 0:
            # Of a full disk the loss's own line says enough: the file is not there.
            with suppress(OSError):
                plan.save(path)
        names = ", ".join(map(str, plan.ids[:8].tolist()))
        got = f"got {loss} at step {step}"
        if what == "weights":
            got = f"got NaN or infinity from the update of step {step}, whose loss was {loss:.6g}"
        raise DataError(
            f"the {what} must stay finite, {got} (rank {', '.join(map(str, ranks))}: samples "
            f"{names}{', ...' * (len(plan.ids) > 8)}); look at its views with python -m "
            f"tools.show_views --plan {shlex.quote(str(path))} --data "
            f"{shlex.quote(str(self._parts.index.directory))}; checkpoints of earlier steps are "
            "intact: lower optim.base_lr or set loop.clip_norm=1, and start anew or from one of "
            "them"
        )


def redraw(parts: Parts, step: int, ranks: Collection[int], bad_ids: Collection[int] = ()) -> Plan:
    """The plan that these ranks' share of step `step`, counted from 1, followed.

    `bad_ids` are replaced as the loader does; other ranks' bad samples, which this one never met,
    stand in the plan themselves.
    """
    loop, world = parts.config.loop, world_size()
    images = loop.images_per_forward
    start = parts.timeline.cursor(step - 1)
    positions = [
        start.advance(part * images).positions(images, number, world)
        for part in range(loop.accumulate)
        for number in ranks
    ]
    return _joined([_redraw_batch(parts, batch, bad_ids) for batch in positions])


def _redraw_batch(parts: Parts, positions: np.ndarray, bad_ids: Collection[int]) -> Plan:
    """The plan of one batch of a loader, which draws whose background a view gets among its own."""
    epochs, ids = parts.order(positions)
    used = ids.copy()
    for attempt in range(MAX_SUBSTITUTES):
        rows = np.isin(used, list(bad_ids))
        used[rows] = parts.order.substitute(epochs[rows], ids[rows], attempt)
    records = parts.index.rows(used)
    has_mask = masked(records) if parts.policy.has_background else None
    return draw_plan(
        parts.policy, used, epochs, sizes_of(records), parts.config.loop.seed, has_mask
    )


def _joined(plans: Sequence[Plan]) -> Plan:
    """The plan of all images of several of one policy, in their order."""
    heavy = [plan.heavy for plan in plans if plan.heavy is not None]
    heavy = _concatenated(heavy, ("source",)) if heavy else None
    bare = [replace(plan, heavy=None) for plan in plans]
    return replace(_concatenated(bare, _NOT_OF_IMAGES), heavy=heavy)


def _concatenated(parts: Sequence[Part], kept: Collection[str]) -> Part:
    """The first of several with the arrays of all, one behind the other, but for those kept."""
    names = [f.name for f in fields(parts[0]) if f.name not in kept]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **joined)
