"""kNN of the encoder as it is now, on held-out labelled images: the number that a loss cannot give.

And, where it is asked for, a linear probe on the same features. `scores.py` asks before training,
every eval.every_epochs and at the end.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from augengine.views import Views
from trainer.eval.center_views import CenterViews
from trainer.eval.features import calibrated, extract, frozen
from trainer.eval.knn import knn_accuracy
from trainer.eval.labelled import LabelledSet, LabelledSets
from trainer.eval.online_probe import online_probe


class GivenUp(Exception):
    """An evaluation was told to stop before its end."""


@dataclass(frozen=True, slots=True)
class OnlineScore:
    """Shares of held-out images that were told rightly, in [0, 1]."""

    knn: float
    probe: float | None = None  # by a linear map; None: not asked for
    probe_s: float = 0.0  # that the probe took


@dataclass(frozen=True, slots=True)
class OnlineKnn:
    """Scores a backbone; the training images' features vote on the held-out ones."""

    views: CenterViews
    sets: LabelledSets
    device: torch.device

    def __call__(
        self, backbone: nn.Module, stop: Callable[[], bool] = lambda: False
    ) -> OnlineScore:
        """Score the encoder as it is, and leave it so.

        Raises:
            GivenUp: `stop` said so between two batches.
            DataError: images that cannot be read.
        """
        settings = self.views.settings
        with frozen(backbone):
            train = extract(backbone, self._views(self.sets.train, stop), self.device)
            test = extract(backbone, self._views(self.sets.test, stop), self.device)
        knn = knn_accuracy(
            train.values,
            train.labels,
            test.values,
            test.labels,
            k=settings.k,
            temperature=settings.temperature,
        )
        if not settings.probe:
            return OnlineScore(knn)
        began = time.monotonic()
        probe = online_probe(train, test, stop)
        if probe is None:
            raise GivenUp
        return OnlineScore(knn, probe, time.monotonic() - began)

    def random_encoder(
        self, backbone: nn.Module, stop: Callable[[], bool] = lambda: False
    ) -> OnlineScore:
        """The score of an untrained backbone with BatchNorm statistics of the data."""
        return self(calibrated(backbone, self._views(self.sets.train, stop), self.device), stop)

    @property
    def protocol(self) -> str:
        """The facts that comparable scores share: the numbers and the held-out set."""
        sets = self.sets
        numbers = self._numbers(len(sets.train.ids), len(sets.test.ids))
        known = f", held-out set {sets.test.index.fingerprint[:16]}, classes {sets.rule}"
        if self.views.settings.train is not None:  # else it is the run's own set
            known += f", labelled set {sets.train.index.fingerprint[:16]}"
        return f"{numbers}{known}"

    def describe(self) -> str:
        """The protocol behind the last score, and what was left out of it."""
        num_train, num_test = (
            len(part.ids) - self.views.num_left_out(part.data)
            for part in (self.sets.train, self.sets.test)
        )
        return f"{self._numbers(num_train, num_test)}; {self.views.describe(self.sets)}"

    def _numbers(self, num_train: int, num_test: int) -> str:
        settings = self.views.settings
        centre = f", centre {settings.fraction:g}" if settings.fraction < 1 else ""
        return (
            f"k={min(settings.k, num_train)}, T={settings.temperature:g}, {num_train:,} training "
            f"and {num_test:,} held-out images, {self.views.size_px} px{centre}"
        )

    def _views(self, part: LabelledSet, stop: Callable[[], bool]) -> Iterator[Views]:
        for views in self.views(part):
            if stop():
                raise GivenUp
            yield views
