"""One evaluation of frozen encoders: the data and engine they share, a row a way to make features.

A command opens it, asks for a score of each encoder, and prints it; the conditions stand below.
All ranks make features and find neighbours; the first one fits the probe.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from augengine.views import Views
from trainer.eval.center_views import CenterViews
from trainer.eval.features import Features, extract
from trainer.eval.labelled import LabelledSet, LabelledSets
from trainer.eval.on_all import own_run
from trainer.eval.probe import PROTOCOL, linear_probe
from trainer.eval.shared_features import alike, calibrated_on_first, share_features

# What is being done, and the share of it that is done.
OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Score:
    """One row of the table; accuracies are shares in [0, 1]."""

    what: str
    knn: float
    linear: float
    linear_l2: float
    feature_dim: int
    linear_cut: bool = False  # the probe was ended by its time, before it was done


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The data and engine of one evaluation."""

    views: CenterViews
    sets: LabelledSets
    device: torch.device
    probe_seconds: float = float("inf")  # at most, of a linear probe's fits

    def score(
        self,
        what: str,
        encode: Callable[[torch.Tensor], torch.Tensor],
        on_progress: OnProgress = lambda stage, share: None,
    ) -> Score:
        """KNN and linear probe of one way to make features [N, D] of images [N, C, S, S]."""
        settings = self.views.settings
        watched = self._watched(on_progress)

        def features_of(_: LabelledSet, views: Iterator[Views]) -> Features:
            return extract(encode, watched(views), self.device)

        def probe_of(train: Features, test: Features) -> tuple[float, float, bool]:
            found = linear_probe(
                train.values,
                train.labels,
                test.values,
                test.labels,
                seconds=self.probe_seconds,
                on_look=lambda share: on_progress("linear probe", share),
            )
            return found.accuracy, found.l2, found.is_cut

        with alike(encode) if isinstance(encode, nn.Module) else nullcontext():
            features = share_features(self.views, self.sets, features_of)
        knn = features.knn_accuracy(settings.k, settings.temperature)
        accuracy, l2, is_cut = features.on_first(probe_of)
        return Score(
            what=what,
            knn=knn,
            linear=accuracy,
            linear_l2=l2,
            feature_dim=features.test.values.shape[1],
            linear_cut=is_cut,
        )

    def calibrated(self, backbone: nn.Module) -> nn.Module:
        """A copy of an untrained encoder with BatchNorm statistics of the training images."""
        return calibrated_on_first(backbone, lambda: self.views(self.sets.train), self.device)

    def _watched(self, on_progress: OnProgress) -> Callable[[Iterator[Views]], Iterator[Views]]:
        """Says how many of this rank's views of both sets have been taken."""
        parts, size = (self.sets.train, self.sets.test), self.views.settings.batch_size
        total, done = sum(len(own_run(part.ids, size)) for part in parts), 0

        def watch(views: Iterator[Views]) -> Iterator[Views]:
            nonlocal done
            for batch in views:
                yield batch
                done += len(batch.ids)
                on_progress("features", done / total)

        return watch

    def conditions(self) -> dict[str, Any]:
        """The conditions of the numbers; ask for them after the scores."""
        settings, train, test = self.views.settings, self.sets.train, self.sets.test
        bad_train, bad_test = (self.views.num_left_out(part.data) for part in (train, test))
        return {
            "train": str(train.index.directory),
            "train_images": len(train.ids) - bad_train,
            "train_unlabelled": train.num_unlabelled,
            "train_bad": bad_train,
            "test": str(test.index.directory),
            "test_images": len(test.ids) - bad_test,
            "test_unlabelled": test.num_unlabelled,
            "test_bad": bad_test,
            "test_foreign": dict(test.foreign),  # images by a class that training lacks
            "test_in_train": self.sets.num_shared,
            "train_repeated": self.sets.num_repeated,
            "classes": self.sets.num_classes,
            "classes_matched": self.sets.rule,
            "largest_class": self.sets.largest_class(),
            "size_px": self.views.size_px,
            "k": min(settings.k, len(train.ids) - bad_train),
            "temperature": settings.temperature,
            "linear": PROTOCOL,
            "backend": self.views.backend.name,
            "torch": str(torch.__version__),
        }
