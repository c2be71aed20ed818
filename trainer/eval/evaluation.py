"""One evaluation of frozen encoders: the data and engine they share, a row a way to make features.

`evaluate.py` opens it, asks for a score of each encoder, and prints it; the conditions stand below.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from augengine.views import Views
from trainer.eval.center_views import CenterViews
from trainer.eval.features import extract
from trainer.eval.knn import knn_accuracy
from trainer.eval.labelled import LabelledSets
from trainer.eval.probe import PROTOCOL, linear_probe

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
        both = self._watched(on_progress)
        train, test = (extract(encode, views, self.device) for views in both)
        sets = (train.values, train.labels, test.values, test.labels)
        knn = knn_accuracy(*sets, k=settings.k, temperature=settings.temperature)
        probe = linear_probe(
            *sets,
            seconds=self.probe_seconds,
            on_look=lambda share: on_progress("linear probe", share),
        )
        return Score(
            what=what,
            knn=knn,
            linear=probe.accuracy,
            linear_l2=probe.l2,
            feature_dim=train.values.shape[1],
            linear_cut=probe.is_cut,
        )

    def _watched(self, on_progress: OnProgress) -> Iterator[Iterator[Views]]:
        """Views of the training set, then of the held-out one; says how many have been taken."""
        parts = (self.sets.train, self.sets.test)
        total, done = sum(len(part.ids) for part in parts), 0

        def watch(views: Iterator[Views]) -> Iterator[Views]:
            nonlocal done
            for batch in views:
                yield batch
                done += len(batch.ids)
                on_progress("features", done / total)

        return (watch(self.views(part)) for part in parts)

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
