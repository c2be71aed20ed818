"""The functions behind the protocols' names, and what each costs before it begins.

The cost counts images through the encoder: a training step on an image is three forwards.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

import trainer.protocols.linear_sgd as linear
import trainer.protocols.whole_network as whole
from trainer.protocols.corruption_kinds import KINDS, SEVERITIES, corruption_library
from trainer.protocols.corruptions import corruptions
from trainer.protocols.nearest import nearest_sweep
from trainer.protocols.svm_layers import layers_of, svm_layers
from trainer.protocols.task import Row, Task
from trainer.protocols.transfer import transfer

TRAINING = 3  # forwards that a training step is worth
_TIMED_IMAGES, _TIMED_BATCH = 512, 32


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a protocol runs: its rows by a task and the name of its set, its cost, its rule."""

    rows: Callable[[Task, str], Iterator[Row]]
    forwards: Callable[[Task], float]
    rule: str  # the sentence beside the numbers
    other_seconds: Callable[[Task], float] = lambda task: 0.0  # beside the forwards


def seconds_of(task: Task, forwards: float) -> float:
    """So many images decoded and through the encoder, as fast as some of the set go just now.

    Images of the training set, read, decoded and cut by the loader that the protocol has. A small
    set is timed whole, and the first batch apart: it waits for what begins. Changes nothing.
    """
    some = replace(task.sets.train, ids=task.sets.train.ids[:: _every_nth(task)][:_TIMED_IMAGES])
    settings = replace(task.views.settings, batch_size=_TIMED_BATCH)
    data = replace(task.views.data, bad_budget=1.0)  # a torn image among few is not too many yet
    views = replace(task.views, settings=settings, data=data, bad={})
    ends, counts = [], []
    with task.frozen_encoder() as encoder, torch.no_grad():
        for batch in views(some):
            float(encoder(batch.crops[0][0].to(task.device)).float().sum())  # waits for a GPU
            ends.append(time.perf_counter())
            counts.append(batch.batch_size)
    if len(ends) < 2:
        return 0.0  # 32 images or fewer: over in no time
    return (ends[-1] - ends[0]) / sum(counts[1:]) * forwards


def _every_nth(task: Task) -> int:
    """A step through the training images that spreads those to be timed over the shards."""
    return max(1, len(task.sets.train.ids) // _TIMED_IMAGES)


def _once(task: Task) -> int:
    """The features of both sets."""
    return len(task.sets.train.ids) + len(task.sets.test.ids)


def _of_linear(task: Task) -> float:
    fits = 1 + (len(task.rates or linear.RATES) * len(task.decays or linear.DECAYS) > 1)
    fitted = fits * linear.epochs_of(task) * len(task.sets.train.ids)
    return len(task.seeds) * (fitted + len(task.sets.test.ids))


def _of_whole(share: float) -> Callable[[Task], float]:
    def forwards(task: Task) -> float:
        candidates = len(task.rates or whole.RATES) * len(task.decays or whole.DECAYS)
        fits = len(task.seeds) + (candidates if candidates > 1 else 0)
        images = max(1, round(share * len(task.sets.train.ids)))
        trained = fits * whole.epochs_of(task, share) * images
        return TRAINING * trained + len(task.seeds) * len(task.sets.test.ids)

    return forwards


def _of_corruptions(task: Task) -> float:
    return _once(task) + _each_corrupted(task) * sum(map(len, KINDS.values()))


def _each_corrupted(task: Task) -> int:
    """Images that one kind makes."""
    return len(SEVERITIES) * len(task.seeds) * len(task.sets.test.ids)


def _seconds_of_corrupting(task: Task) -> float:
    corrupt, size_px = corruption_library(task.views.size_px), task.views.size_px
    image, total = np.full((size_px, size_px, 3), 127, np.uint8), 0.0
    for kind in (kind for kinds in KINDS.values() for kind in kinds):
        corrupt(image, kind, 3, 0, 0)  # what is compiled at the first call
        began = time.perf_counter()
        corrupt(image, kind, 3, 0, 1)
        total += time.perf_counter() - began
    return total * _each_corrupted(task)


_WHOLE = (
    "encoder and a new linear layer by SGD (Nesterov 0.9, cosine), crops and flips, batch norm in "
    "training mode; rate and decay chosen on a held-out tenth of the labelled part"
)
_BALANCED = "as many labelled images of each class, drawn by the seed; "
PROTOCOL_TABLE: Mapping[str, Protocol] = {
    "linear-sgd": Protocol(
        lambda task, name: linear.linear_sgd(task),
        _of_linear,
        "frozen encoder, a linear layer by SGD (Nesterov 0.9, cosine), crops and flips; rate of "
        "batch 256 and decay chosen on a held-out tenth of the training images",
    ),
    "knn": Protocol(
        lambda task, name: nearest_sweep(task),
        _once,
        "cosine similarity, votes exp(s / T); k and T chosen on a held-out tenth of the training "
        "images",
    ),
    "semi-1": Protocol(
        lambda task, name: whole.semi_1(task), _of_whole(0.01), f"{_BALANCED}{_WHOLE}"
    ),
    "semi-10": Protocol(
        lambda task, name: whole.semi_10(task), _of_whole(0.1), f"{_BALANCED}{_WHOLE}"
    ),
    "finetune": Protocol(lambda task, name: whole.finetune_all(task), _of_whole(1.0), _WHOLE),
    "svm": Protocol(
        lambda task, name: svm_layers(task),
        lambda task: len(layers_of(task.encoder)) * _once(task),
        "one-vs-all squared hinge on features of length 1, maps max-pooled over quadrants; C "
        "chosen on a held-out tenth of the training images",
    ),
    "transfer": Protocol(
        transfer,
        _once,
        "standardised features of centre views, logistic regression, L2 chosen on a held-out tenth "
        "of each training set; class: mean over classes",
    ),
    "corruptions": Protocol(
        lambda task, name: corruptions(task),
        _of_corruptions,
        "linear probe of clean features; ImageNet-C's kinds and severities on the views",
        _seconds_of_corrupting,
    ),
}
