"""kNN of the encoder as it is now, on held-out labelled images: the number that a loss cannot give.

`scores.py` asks before training, every eval.every_epochs and at the end.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from augengine.views import Views
from trainer.eval.center_views import CenterViews
from trainer.eval.features import calibrated, extract, frozen
from trainer.eval.knn import knn_accuracy
from trainer.eval.labelled import LabelledSet, LabelledSets


class GivenUp(Exception):
    """An evaluation was told to stop before its end."""


@dataclass(frozen=True, slots=True)
class OnlineKnn:
    """Scores a backbone; the training images' features vote on the held-out ones."""

    views: CenterViews
    sets: LabelledSets
    device: torch.device

    def __call__(self, backbone: nn.Module, stop: Callable[[], bool] = lambda: False) -> float:
        """Share of held-out images classified rightly, in [0, 1].

        Raises:
            GivenUp: `stop` said so between two batches.
            DataError: images that cannot be read.
        """
        settings = self.views.settings
        with frozen(backbone):
            train = extract(backbone, self._views(self.sets.train, stop), self.device)
            test = extract(backbone, self._views(self.sets.test, stop), self.device)
        return knn_accuracy(
            train.values,
            train.labels,
            test.values,
            test.labels,
            k=settings.k,
            temperature=settings.temperature,
        )

    def random_encoder(
        self, backbone: nn.Module, stop: Callable[[], bool] = lambda: False
    ) -> float:
        """The score of an untrained backbone with BatchNorm statistics of the data."""
        return self(calibrated(backbone, self._views(self.sets.train, stop), self.device), stop)

    @property
    def protocol(self) -> str:
        """The facts that comparable scores share: the numbers and the held-out set."""
        sets = self.sets
        numbers = self._numbers(len(sets.train.ids), len(sets.test.ids))
        return f"{numbers}, held-out set {sets.test.index.fingerprint[:16]}, classes {sets.rule}"

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
