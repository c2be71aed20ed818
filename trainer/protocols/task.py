"""A protocol's task: one encoder, one pair of labelled sets; and a row of what came out.

A protocol is a function of a `Task` that yields a `Row` as soon as it is known. It never changes
the task's encoder: whoever trains one takes a copy.

Legend: N images, K classes.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import mean, stdev

import numpy as np
import torch
from torch import nn

from shards.errors import DataError
from trainer.eval.center_views import CenterViews
from trainer.eval.class_match import class_name
from trainer.eval.evaluation import OnProgress
from trainer.eval.features import Features, extract, frozen
from trainer.eval.labelled import LabelledSet, LabelledSets

# Images that one fit goes through on a CPU by default, at most; on a GPU the papers' epochs hold.
FORWARDS_ON_CPU = 60_000
TRAINED_ON_CPU = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a protocol's table; scores are shares in [0, 1], by the protocol's columns."""

    what: str
    scores: tuple[float, ...]
    spread: float | None = None  # of the first score over the seeds: their standard deviation
    seed: int | None = None
    note: str = ""  # what was chosen, what it is of
    sweep: Mapping[str, float] = field(default_factory=dict)  # held-out score by candidate
    image_ids: tuple[int, ...] = ()  # of a part of the training set that the row is of


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One encoder to be judged on one pair of sets."""

    encoder: nn.Module  # images [N, 3, S, S] -> features [N, D]
    feature_dim: int
    views: CenterViews
    sets: LabelledSets
    device: torch.device
    seeds: tuple[int, ...] = (0,)
    epochs: float | None = None  # None: the protocol's own
    rates: tuple[float, ...] = ()  # of the sweep; (): the protocol's own
    decays: tuple[float, ...] = ()
    k: int | None = None
    temperature: float | None = None
    on_progress: OnProgress = lambda stage, share: None

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            index = self.sets.train.index
            names = ", ".join(class_name(index, int(number)) for number in self.classes)
            raise DataError(
                f"a protocol tells classes apart, got one ({names}) in {index.directory}; give a "
                "--data with two classes or more"
            )

    @property
    def classes(self) -> np.ndarray:
        """[K] int64, ascending - numbers of the classes with training images."""
        return np.unique(self.sets.train.numbers)

    def labels(self, ids: np.ndarray) -> np.ndarray:
        """[N] - class numbers of training images."""
        train = self.sets.train
        return train.renumber(train.index.labels(ids))

    def places(self, labels: np.ndarray) -> torch.Tensor:
        """[N] int64 in [0, K) on the device: the rows of a linear layer, of class numbers [N]."""
        return torch.from_numpy(np.searchsorted(self.classes, labels)).to(self.device)

    def fitted_epochs(self, published: float, num_images: int, cpu_images: int) -> float:
        """Asked for; or the papers' on a GPU, and on a CPU as many as end in minutes."""
        if self.epochs is not None:
            return self.epochs
        if self.device.type != "cpu":
            return published
        return min(published, max(1.0, cpu_images / num_images))

    def fresh_encoder(self) -> nn.Module:
        """A copy on the device, to be trained."""
        return copy.deepcopy(self.encoder).to(self.device)

    @contextmanager
    def frozen_encoder(self) -> Iterator[nn.Module]:
        """The encoder itself on the device, in eval mode."""
        with frozen(self.encoder.to(self.device)) as encoder:
            yield encoder

    def centre_features(self, part: LabelledSet, what: str) -> Features:
        """Frozen features of the centre views of a set, and its class numbers."""

        def watched() -> Iterator:
            done = 0
            for batch in self.views(part):
                yield batch
                done += batch.batch_size
                self.on_progress(what, done / len(part.ids))

        with self.frozen_encoder() as encoder:
            return extract(encoder, watched(), self.device)


def summary(rows: list[Row]) -> Row | None:
    """Mean over rows of different seeds, with its spread; None of fewer than two."""
    if len(rows) < 2:
        return None
    firsts = [row.scores[0] for row in rows]
    means = tuple(mean(column) for column in zip(*(row.scores for row in rows), strict=True))
    return Row(what="mean", scores=means, spread=stdev(firsts), note=f"{len(rows)} seeds")
