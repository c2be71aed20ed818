"""kNN of the encoder as it is now, on held-out labelled images: the number that a loss cannot give.

And, where it is asked for, a linear probe on the same features. A run asks before training, every
eval.every_epochs and at the end; all ranks make the features and find the neighbours.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from augengine.views import Views
from trainer.eval.center_views import CenterViews
from trainer.eval.features import Features, extract, frozen
from trainer.eval.labelled import LabelledSet, LabelledSets
from trainer.eval.on_all import GivenUp
from trainer.eval.online_probe import online_probe
from trainer.eval.shared_features import alike, calibrated_on_first, share_features


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
        """Score the encoder as it is, and leave it so; all ranks together.

        Raises:
            GivenUp: `stop` said so between two batches, on any rank.
            DataError: images that cannot be read.
        """
        settings = self.views.settings

        def features_of(part: LabelledSet, views: Iterator[Views]) -> Features:
            return extract(backbone, _until(stop, views), self.device)

        with frozen(backbone), alike(backbone):
            features = share_features(self.views, self.sets, features_of)
        knn = features.knn_accuracy(settings.k, settings.temperature)
        if not settings.probe:
            return OnlineScore(knn)
        began = time.monotonic()
        probe = features.on_first(lambda train, test: online_probe(train, test, stop))
        if probe is None:
            raise GivenUp
        return OnlineScore(knn, probe, time.monotonic() - began)

    def random_encoder(
        self, backbone: nn.Module, stop: Callable[[], bool] = lambda: False
    ) -> OnlineScore:
        """The score of an untrained backbone with BatchNorm statistics of the data."""

        def views() -> Iterator[Views]:
            return _until(stop, self.views(self.sets.train))

        copied = calibrated_on_first(backbone, views, self.device)
        return self(copied, stop)

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


def _until(stop: Callable[[], bool], batches: Iterator[Views]) -> Iterator[Views]:
    for views in batches:
        if stop():
            raise GivenUp
        yield views
