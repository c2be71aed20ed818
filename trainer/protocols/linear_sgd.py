"""`linear-sgd`: a linear layer by SGD on the frozen encoder, under crops and flips.

BYOL's (2006.07733, C.1; SimCLR's is alike, 2002.05709, B.6): Nesterov momentum 0.9, a cosine
without warm-up, the rate chosen on held-out training images, then the layer fitted anew on all of
them; 80 to 100 epochs on ImageNet. The scale of features differs by method, and with it the best
rate: BYOL's sweep goes to 0.4 x batch / 256, MoCo needs 30 (1911.05722). All candidates are fitted
side by side on the same features, so a wide sweep costs no more forwards than a narrow one.

Legend: B images, D features, K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from shards.errors import DataError
from trainer.eval.labelled import LabelledSet
from trainer.optim.schedule import cosine, peak_lr
from trainer.optim.uncompiled import SGD
from trainer.protocols.augmented import augmented_batches
from trainer.protocols.sweep_part import best, held_out_part
from trainer.protocols.task import FORWARDS_ON_CPU, Row, Task, summary

RATES = (0.05, 0.1, 0.2, 0.4, 1.0, 3.0, 10.0, 30.0)  # of a batch of 256
DECAYS = (0.0, 5e-4)  # of BYOL, SimCLR and MoCo; of VISSL
EPOCHS = 80.0
BATCH_SIZE = 256
MOMENTUM = 0.9


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting of a sweep."""

    rate: float  # of a batch of 256
    decay: float

    def __str__(self) -> str:
        return f"rate {self.rate:g}, decay {self.decay:g}"


def linear_sgd(task: Task) -> Iterator[Row]:
    """A row a seed: the sweep on held-out training images, then the layer on all of them."""
    candidates = [Candidate(r, d) for r in task.rates or RATES for d in task.decays or DECAYS]
    ids, rows = task.sets.train.ids, []
    for seed in task.seeds:
        scores = {}
        chosen = candidates[0]
        fitted, held_out = (ids[part] for part in held_out_part(task.labels(ids), seed))
        if len(candidates) > 1 and len(held_out):
            layers = _fit(task, fitted, candidates, seed, f"seed {seed}: sweep")
            part = replace(task.sets.train, ids=held_out)
            accuracies = _accuracies(task, layers, part, f"seed {seed}: choice")
            scores = dict(zip(candidates, accuracies, strict=True))
            chosen = best(scores)
        layers = _fit(task, ids, [chosen], seed, f"seed {seed}: fit")
        (accuracy,) = _accuracies(task, layers, task.sets.test, f"seed {seed}: score")
        if accuracy != accuracy:
            raise DataError(
                f"a linear layer's scores are finite, got others after {chosen}; give lower --rates"
            )
        epochs = epochs_of(task)
        rows.append(
            Row(
                what=f"seed {seed}",
                scores=(accuracy,),
                seed=seed,
                note=f"{chosen}; {epochs:.3g} epochs of {len(ids):,}",
                sweep={str(candidate): score for candidate, score in scores.items()},
            )
        )
        yield rows[-1]
    if mean := summary(rows):
        yield mean


def epochs_of(task: Task) -> float:
    """Passes over the training images, of each fit."""
    return task.fitted_epochs(EPOCHS, len(task.sets.train.ids), FORWARDS_ON_CPU)


def _fit(
    task: Task,
    ids: np.ndarray,  # [N] int64 - training images
    candidates: Sequence[Candidate],
    seed: int,
    what: str,
) -> list[nn.Linear]:
    """A layer a candidate, each from zeros and on the same views; they share forwards alone."""
    layers = [nn.Linear(task.feature_dim, len(task.classes)) for _ in candidates]
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        layer.to(task.device)
    batch_size = min(BATCH_SIZE, len(ids))
    peaks = [peak_lr(candidate.rate, batch_size) for candidate in candidates]
    groups = [
        {"params": list(layer.parameters()), "lr": peak, "weight_decay": candidate.decay}
        for layer, peak, candidate in zip(layers, peaks, candidates, strict=True)
    ]
    optimizer = SGD(groups, 0.0, MOMENTUM, nesterov=True)
    total = max(1, int(epochs_of(task) * len(ids) / batch_size))
    stream = augmented_batches(task, ids, batch_size, seed)
    with task.frozen_encoder() as encoder, stream as batches:
        for step, (images, places) in zip(range(total), batches, strict=False):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = cosine(peak, 0.0, step / total)
            with torch.no_grad():
                features = encoder(images).float()  # [B, D]
            losses = [F.cross_entropy(layer(features), places) for layer in layers]
            optimizer.zero_grad(set_to_none=True)
            torch.stack(losses).sum().backward()
            optimizer.step()
            task.on_progress(what, (step + 1) / total)
    return layers


@torch.no_grad()
def _accuracies(
    task: Task, layers: Sequence[nn.Linear], part: LabelledSet, what: str
) -> list[float]:
    """Top-1 of each layer on the centre views of a set; NaN of one that diverged."""
    features = task.centre_features(part, what)
    places = task.places(features.labels.cpu().numpy())
    found = []
    for layer in layers:
        scores = layer(features.values)  # [N, K]
        is_right = scores.argmax(dim=1) == places
        found.append(is_right.float().mean().item() if scores.isfinite().all() else float("nan"))
    return found
