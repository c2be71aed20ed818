"""One evaluation of frozen encoders: the data and engine they share, a row a way to make features.

`evaluate.py` opens it, asks for a score of each encoder, and prints them under the conditions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from trainer.eval.center_views import CenterViews
from trainer.eval.features import extract
from trainer.eval.knn import knn_accuracy
from trainer.eval.labelled import LabelledSets
from trainer.eval.probe import PROTOCOL, linear_probe


@dataclass(frozen=True, slots=True)
class Score:
    """One row of the table; accuracies are shares in [0, 1]."""

    what: str
    knn: float
    linear: float
    linear_l2: float
    feature_dim: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The data and engine of one evaluation."""

    views: CenterViews
    sets: LabelledSets
    device: torch.device

    def score(self, what: str, encode: Callable[[torch.Tensor], torch.Tensor]) -> Score:
        """KNN and linear probe of one way to make features [N, D] of images [N, C, S, S]."""
        settings = self.views.settings
        train = extract(encode, self.views(self.sets.train), self.device)
        test = extract(encode, self.views(self.sets.test), self.device)
        sets = (train.values, train.labels, test.values, test.labels)
        probe = linear_probe(*sets)
        return Score(
            what=what,
            knn=knn_accuracy(*sets, k=settings.k, temperature=settings.temperature),
            linear=probe.accuracy,
            linear_l2=probe.l2,
            feature_dim=train.values.shape[1],
        )

    def conditions(self) -> dict[str, Any]:
        """What the numbers depend on, to stand beside them; to be asked for after the scores."""
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
