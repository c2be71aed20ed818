"""The scores of a run: when they are due, making kNN on all ranks, and where it is written.

`label_free_records.py` makes what needs no labels, at the same steps.

`train.py` asks after every step, and first of all when a run is continued: a score that a signal, a
crash or missing evaluation data left out is made then. Scores are compared, with that of
step 0 and for best.pt, among those of the same protocol only: the evaluation data and its settings
may change when a run continues, and the encoder of step 0, a random one or the weights that the run
was given, is then scored again.
"""

import time
from functools import partial
from pathlib import Path

import torch
from torch import nn

from trainer.build import Parts
from trainer.distributed import on_first
from trainer.eval.on_all import GivenUp
from trainer.eval.online import OnlineScore
from trainer.eval.online_probe import PROTOCOL
from trainer.record.label_free_records import LabelFreeRecords
from trainer.record.log import read_metrics
from trainer.record.report import Reporter
from trainer.record.rundir import CONFIG_NAME
from trainer.record.starts import weights_taken
from trainer.setup.beginning import encoder_as_begun, name_of_beginning
from trainer.setup.compiled import without_graphs
from trainer.setup.timeline import due


class Scores:
    """The scores of one run; every rank calls the same at the same step."""

    def __init__(self, parts: Parts, out: Path, reporter: Reporter) -> None:
        self._parts = parts
        self._out = out
        self._before = name_of_beginning(parts.config)
        self._reporter = reporter
        # Share of held-out images classified rightly, by step; step 0 is before training.
        self.by_step: dict[int, float] = on_first(partial(self._read, out))
        self._label_free = LabelFreeRecords(parts, out, reporter, self._as_begun)

    def due(self, step: int) -> bool:
        """Whether the encoder of this step is to be scored, and has not been."""
        parts = self._parts
        if not self._lacks_knn(step) and not self._label_free.lacks(step):
            return False
        timeline = parts.timeline
        every = timeline.steps(parts.config.eval.every_epochs)
        return step in (0, timeline.total_steps) or due(step, every)

    def make(self, step: int) -> bool:
        """Score the encoder as it is, and before it that of step 0 if there is no such score.

        Returns:
            False when it was given up for a signal; the score is due again when the run continues.

        Raises:
            DataError: images that cannot be read; on every rank.
        """
        with without_graphs(self._parts.config.loop.compile):
            for at in (0, step):
                if self._lacks_knn(at):
                    with self._reporter.paused():
                        is_made = self._score(at, step)
                    if not is_made:
                        return False
            return self._label_free.make(step)

    def _lacks_knn(self, step: int) -> bool:
        return self._parts.knn is not None and step not in self.by_step

    def _read(self, out: Path) -> dict[int, float]:
        knn = self._parts.knn
        if knn is None:
            return {}
        records = [r for r in read_metrics(out) if "knn" in r]
        return {r["step"]: r["knn"] for r in records if r.get("knn_protocol") == knn.protocol}

    def _score(self, at: int, step: int) -> bool:
        """Score step 0 or the encoder as it is, at `step`; False: given up."""
        began = time.monotonic()
        knn, encoder = self._parts.knn, self._parts.method.encoder
        assert knn is not None
        is_random = at == 0 and self._parts.config.backbone.weights is None
        judge, stop = knn.random_encoder if is_random else knn, self._reporter.is_stopped
        try:
            score = judge(self._as_begun() if at == 0 and step else encoder, stop)
        except GivenUp:
            return False
        finally:
            self._reporter.samples.add_evaluated(at, knn.views.bad)
        # The first one's number is everybody's: on CUDA sums may differ in their last bit.
        self.by_step[at] = on_first(partial(self._write, at, score, began))
        return True

    def _write(self, at: int, score: OnlineScore, began: float) -> float:
        """On the first rank: say and record it; the share that kNN told rightly."""
        knn = self._parts.knn
        assert knn is not None
        epoch = round(at / self._parts.timeline.steps_per_epoch, 6)
        eval_s = round(time.monotonic() - began, 3)
        record = {"epoch": epoch, "knn": score.knn, "knn_protocol": knn.protocol, "eval_s": eval_s}
        linear = ""
        if score.probe is not None:
            record |= {"probe": score.probe, "probe_protocol": PROTOCOL}
            record |= {"probe_s": round(score.probe_s, 3)}
            linear = f", linear probe {score.probe:.1%}"
        what, beside = f"{'the' if self._parts.config.backbone.weights else 'a'} {self._before}", ""
        if at:
            what, beside = f"epoch {epoch:.4g}", f", {self._before} {self.by_step[0]:.1%}"
        self._reporter.say(f"kNN of {what}: {score.knn:.1%}{linear}{beside} ({knn.describe()})")
        random = self.by_step.get(0, score.knn)
        self._reporter.record_score(at, record, random, len(knn.sets.test.ids))
        return score.knn

    def _as_begun(self) -> nn.Module:
        """The encoder as it was before the first step."""
        parts = self._parts
        recorded = weights_taken(self._out / CONFIG_NAME)
        encoder = encoder_as_begun(parts.config, parts.policy, recorded).to(parts.device)
        return encoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
