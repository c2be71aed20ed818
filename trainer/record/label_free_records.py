"""The label-free measures of a run: making them on the first rank, and the records of them.

They are due when a kNN score is, with one or without, and behave as it does: what a signal or a
crash left out is made when the run continues, that of step 0 too; records of other images or
settings are none of these.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from torch import nn

from trainer.build import Parts
from trainer.distributed import on_first
from trainer.eval.fixed_part import LabelFree, LabelFreeScore
from trainer.eval.label_free import MEASURES
from trainer.eval.on_all import GivenUp
from trainer.record.log import read_metrics
from trainer.record.report import Reporter

PROTOCOL = "label_free_protocol"  # the key of a record that says of what it is


class LabelFreeRecords:
    """The measures of one run; every rank calls the same at the same step."""

    def __init__(
        self,
        parts: Parts,
        out: Path,
        reporter: Reporter,
        as_begun: Callable[[], nn.Module],  # makes the encoder of step 0
    ) -> None:
        self._parts = parts
        self._reporter = reporter
        self._as_begun = as_begun
        self._steps: set[int] = on_first(partial(_measured_steps, out, parts.label_free))

    def lacks(self, step: int) -> bool:
        """Whether the encoder of a step at which scores are made has not been measured."""
        return self._parts.label_free is not None and step not in self._steps

    def make(self, step: int) -> bool:
        """Measure the encoder as it is, and before it that of step 0 if it was not.

        Returns:
            False when it was given up for a signal.

        Raises:
            DataError: images that cannot be read; on every rank.
        """
        for at in (0, step):
            if self.lacks(at):
                with self._reporter.paused():
                    is_made = on_first(partial(self._measure, at, step))
                if not is_made:
                    return False
                self._steps.add(at)
        return True

    def _measure(self, at: int, step: int) -> bool:
        """On the first rank: of step 0 or of the encoder as it is, at `step`."""
        began = time.monotonic()
        label_free, encoder = self._parts.label_free, self._parts.method.encoder
        assert label_free is not None
        is_random = at == 0 and self._parts.config.backbone.weights is None
        measure = label_free.random_encoder if is_random else label_free
        stop = self._reporter.is_stopped
        try:
            score = measure(self._as_begun() if at == 0 and step else encoder, stop)
        except GivenUp:
            return False
        finally:
            self._reporter.samples.add_evaluated(at, label_free.views.bad)
        epoch = round(at / self._parts.timeline.steps_per_epoch, 6)
        self._reporter.record_measures(
            at,
            {
                "epoch": epoch,
                **score.values,
                PROTOCOL: label_free.protocol,
                "label_free_s": round(time.monotonic() - began, 3),
            },
            score.problem,
        )
        if score.problem is None:
            self._reporter.say(f"label-free of epoch {epoch:.4g}: {describe(score)}")
        return True


def describe(score: LabelFreeScore) -> str:
    """The measures in a line."""
    return ", ".join(
        f"{name} {score.values[key]:{form}}"
        for key, (name, form) in MEASURES.items()
        if key in score.values
    )


def _measured_steps(out: Path, label_free: LabelFree | None) -> set[int]:
    if label_free is None:
        return set()

    def is_ours(record: Mapping[str, object]) -> bool:
        return record.get(PROTOCOL) == label_free.protocol

    return {record["step"] for record in read_metrics(out) if is_ours(record)}
