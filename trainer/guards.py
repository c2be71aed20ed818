"""Looks at the losses now and then, not after every step, and still names the step that went wrong.

Losses stay on the device until `check` reads those of all ranks at once, so the host waits for the
device every few steps only. What a step saw is a pure function of its number: when a loss is not
finite its images and their plan are computed again, and the plan is saved for a look at the views
(`tools/show_views.py --plan`). Ranks agree in the same exchange on whether one was told to stop.
"""

import math
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from augengine.batches import MAX_SUBSTITUTES
from augengine.draw import draw_plan
from augengine.plan import Plan
from shards.errors import DataError
from trainer.build import Parts
from trainer.distributed import gather_rows, rank, world_size

CHECK_EVERY = 10  # steps at most, whatever run.log_every


class Guard:
    """The losses since the last check."""

    def __init__(self, parts: Parts, out: Path) -> None:
        self._parts = parts
        self._out = out
        self._first_step = 0  # of those below
        self._losses: list[torch.Tensor] = []

    def note(self, step: int, loss: torch.Tensor) -> None:
        """Keep the loss of step `step`, counted from 1; does not wait for the device."""
        if not self._losses:
            self._first_step = step
        self._losses.append(loss.detach().float())

    def check(self, signal: int, bad_ids: Collection[int]) -> tuple[float | None, int]:
        """Read the losses; every rank calls it after the same step.

        Args:
            signal: the number of the one that this rank got, 0 for none.
            bad_ids: samples that had to be replaced.

        Returns:
            The last loss, a mean over ranks (None: nothing is new), and the signal of any rank.

        Raises:
            DataError: a loss is not finite.
        """
        if not self._losses and world_size() == 1:
            return None, signal
        mine = torch.tensor([signal], dtype=torch.float32, device=self._parts.device)
        everyone = gather_rows(torch.stack([*self._losses, mine[0]])[None]).cpu()  # [W, steps + 1]
        losses, signal = everyone[:, :-1], int(everyone[:, -1].max())
        self._losses = []
        means = losses.mean(dim=0).tolist()
        for i, mean in enumerate(means):
            if not math.isfinite(mean):
                ranks = np.flatnonzero(~losses[:, i].isfinite().numpy()).tolist()
                self._stop(self._first_step + i, mean, ranks or range(world_size()), bad_ids)
        return (means[-1] if means else None), signal

    def _stop(
        self, step: int, loss: float, ranks: Collection[int], bad_ids: Collection[int]
    ) -> None:
        plan = redraw(self._parts, step, ranks, bad_ids)
        path = self._out / f"nonfinite-step-{step}.npz"
        if rank() == 0:
            # Of a full disk the loss's own line says enough: the file is not there.
            with suppress(OSError):
                plan.save(path)
        names = ", ".join(map(str, plan.ids[:8].tolist()))
        raise DataError(
            f"the loss must stay finite, got {loss} at step {step} (rank "
            f"{', '.join(map(str, ranks))}: samples {names}{', ...' * (len(plan.ids) > 8)}); look "
            f"at its views with tools/show_views.py --plan {path} --data "
            f"{self._parts.index.directory}; checkpoints of earlier steps are intact: lower "
            "optim.base_lr or set loop.clip_norm=1, and start anew or from one of them"
        )


def redraw(parts: Parts, step: int, ranks: Collection[int], bad_ids: Collection[int] = ()) -> Plan:
    """The plan that these ranks' share of step `step`, counted from 1, followed.

    `bad_ids` are replaced as the loader does; other ranks' bad samples, which this one never met,
    stand in the plan themselves.
    """
    loop, world = parts.config.loop, world_size()
    images = parts.images_per_forward
    start = parts.cursor(step - 1)
    positions = [
        start.advance(part * images).positions(images, number, world)
        for part in range(loop.accumulate)
        for number in ranks
    ]
    epochs, ids = parts.order(np.concatenate(positions))
    used = ids.copy()
    for attempt in range(MAX_SUBSTITUTES):
        rows = np.isin(used, list(bad_ids))
        used[rows] = parts.order.substitute(epochs[rows], ids[rows], attempt)
    return draw_plan(parts.policy, used, epochs, parts.index.sizes(used), loop.seed)
