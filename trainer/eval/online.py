"""kNN of the encoder as it is now, on held-out labelled images: the number that a loss cannot give.

`scores.py` asks before training (a random encoder), every eval.every_epochs and at the end.
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
        """What scores must have in common to be compared: the numbers and the held-out set."""
        return f"{self._numbers()}; held-out set {self.sets.test.index.fingerprint[:16]}"

    def describe(self) -> str:
        """The protocol behind the last score, and what could not be read."""
        return self._numbers() + self.views.describe_bad()

    def _numbers(self) -> str:
        settings, sets = self.views.settings, self.sets
        centre = f", centre {settings.fraction:g}" if settings.fraction < 1 else ""
        return (
            f"k={min(settings.k, len(sets.train.ids))}, T={settings.temperature:g}, "
            f"{len(sets.train.ids):,} training and {len(sets.test.ids):,} held-out images, "
            f"{self.views.size_px} px{centre}; {sets.describe()}"
        )

    def _views(self, part: LabelledSet, stop: Callable[[], bool]) -> Iterator[Views]:
        for views in self.views(part):
            if stop():
                raise GivenUp
            yield views
