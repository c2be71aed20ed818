"""kNN of the encoder as it is now, on held-out labelled images: the number that a loss cannot give.

`train.py` asks before training (a random encoder), every eval.every_epochs and at the end;
`evaluate.py` takes its views from here too, so that both speak of the same features.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from augengine.backends.protocol import Backend
from augengine.decoders.protocol import Decoder
from augengine.pipeline import iter_center_views
from augengine.policy import Policy
from augengine.views import Views
from shards.errors import DataError
from shards.format import NO_LABEL
from shards.index import ShardIndex
from trainer.config import EvalConfig
from trainer.eval.features import Features, calibrated, extract, frozen
from trainer.eval.knn import knn_accuracy

_SAMPLE_SEED = 0  # of the images that stand for a set too large to use whole


@dataclass(frozen=True, slots=True)
class CenterViews:
    """Makes the centre views of a set, sized and normalised as in training."""

    settings: EvalConfig
    policy: Policy
    backend: Backend
    decoder: Decoder
    num_workers: int
    stall_s: float  # longest wait for a batch

    @property
    def size_px(self) -> int:
        """Side of the views."""
        return self.settings.size_px or self.policy.groups[0].size_px

    def __call__(self, index: ShardIndex, max_images: int = 0) -> Iterator[Views]:
        """Views of all images, or of a fixed random `max_images` of them."""
        return iter_center_views(
            index,
            self.size_px,
            self.settings.batch_size,
            backend=self.backend,
            decoder=self.decoder,
            ids=sample_ids(len(index), max_images),
            mean=self.policy.mean,
            std=self.policy.std,
            fraction=self.settings.fraction,
            num_workers=self.num_workers,
            stall_s=self.stall_s,
        )


@dataclass(frozen=True, slots=True)
class OnlineKnn:
    """Scores a backbone; the training images' features vote on the held-out ones."""

    views: CenterViews
    train: ShardIndex
    test: ShardIndex
    device: torch.device

    def __post_init__(self) -> None:
        require_same_classes(self.train, self.test)

    def __call__(self, backbone: nn.Module) -> float:
        """Share of held-out images classified rightly, in [0, 1]."""
        with frozen(backbone):
            train = extract(backbone, self._train_views(), self.device)
            test = extract(backbone, self._test_views(), self.device)
        return self._score(train, test)

    def random_encoder(self, backbone: nn.Module) -> float:
        """The score of an untrained backbone with BatchNorm statistics of the data."""
        return self(calibrated(backbone, self._train_views(), self.device))

    def describe(self) -> str:
        """The protocol behind the number."""
        settings = self.views.settings
        num_train, num_test = (
            len(sample_ids(len(index), most))
            for index, most in (
                (self.train, settings.max_train_images),
                (self.test, settings.max_test_images),
            )
        )
        return (
            f"k={min(settings.k, num_train)}, T={settings.temperature:g}, {num_train:,} training "
            f"and {num_test:,} held-out images, {self.views.size_px} px"
        )

    def _score(self, train: Features, test: Features) -> float:
        settings = self.views.settings
        return knn_accuracy(
            train.values,
            train.labels,
            test.values,
            test.labels,
            k=settings.k,
            temperature=settings.temperature,
        )

    def _train_views(self) -> Iterator[Views]:
        return self.views(self.train, self.views.settings.max_train_images)

    def _test_views(self) -> Iterator[Views]:
        return self.views(self.test, self.views.settings.max_test_images)


def sample_ids(num_images: int, max_images: int) -> np.ndarray:
    """All ids, or a fixed random part, ascending; 0 means all.

    Not every n-th image: sets that go through their classes in turn would lose some of them.
    """
    if max_images == 0 or max_images >= num_images:
        return np.arange(num_images)
    chosen = np.random.default_rng(_SAMPLE_SEED).choice(num_images, max_images, replace=False)
    return np.sort(chosen)


def largest_class(index: ShardIndex, max_images: int) -> float:
    """The share of the most frequent class: what one guess for all images would score."""
    labels = index.labels(sample_ids(len(index), max_images))
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def require_same_classes(train: ShardIndex, test: ShardIndex) -> None:
    """Both sets must be labelled, with the same classes in the same order; DataError otherwise."""
    for index in (train, test):
        if (index.labels(sample_ids(len(index), 10_000)) == NO_LABEL).all():
            raise DataError(
                f"kNN and a linear probe need labels, got none in {index.directory}; pack a folder "
                "with one subfolder a class, or train without --eval-data"
            )
    if train.classes and test.classes and train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))[:5] or ["their order"]
        raise DataError(
            f"both sets need the same classes in the same order, got {len(train.classes)} in "
            f"{train.directory} and {len(test.classes)} in {test.directory} that differ in "
            f"{', '.join(odd)}; pack both from the same class folders"
        )
