"""`semi-1`, `semi-10`, `finetune`: the whole encoder trained on, on a part of the labels or all.

As SimCLR does it (2002.05709, B.5 and B.8): Nesterov momentum 0.9, a cosine without warm-up, crops
and flips, batch norm in training mode, a new linear layer from zeros at the encoder's own rate; 60
epochs on 1 % and 30 on more, no decay. BYOL sweeps rates 0.005 to 0.1 (2006.07733, C.2) and both
sweep 7 rates and 8 decays where all labels are used. Here the first seed's sweep decides for all
seeds; it fits on nine tenths of the labelled part and scores on its last tenth, so that "1 % of the
labels" are all the labels that are looked at. A test image is scored once, after the last step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from shards.errors import DataError
from shards.terminal.counted import counted
from trainer.eval.features import frozen
from trainer.eval.labelled import LabelledSet
from trainer.optim.schedule import cosine, peak_lr
from trainer.optim.uncompiled import SGD
from trainer.protocols.augmented import augmented_batches
from trainer.protocols.linear_sgd import BATCH_SIZE, MOMENTUM, Candidate
from trainer.protocols.semi_subset import balanced_subset
from trainer.protocols.sweep_part import best, held_out_part
from trainer.protocols.task import TRAINED_ON_CPU, Row, Task, summary

RATES = (0.01, 0.03, 0.1)  # of a batch of 256
DECAYS = (0.0,)


def semi_1(task: Task) -> Iterator[Row]:
    """One per cent of the labels, class-balanced."""
    return _rows(task, 0.01)


def semi_10(task: Task) -> Iterator[Row]:
    """Ten per cent."""
    return _rows(task, 0.1)


def finetune_all(task: Task) -> Iterator[Row]:
    """All labels."""
    return _rows(task, 1.0)


def labelled_part(task: Task, share: float, seed: int) -> np.ndarray:
    """[M] int64 ids of training images whose labels are looked at."""
    ids = task.sets.train.ids
    return ids if share == 1 else ids[balanced_subset(task.labels(ids), share, seed)]


def epochs_of(task: Task, share: float) -> float:
    """Passes over the labelled part, of each fit."""
    num_images = max(1, round(share * len(task.sets.train.ids)))
    return task.fitted_epochs(60.0 if share <= 0.01 else 30.0, num_images, TRAINED_ON_CPU)


def _rows(task: Task, share: float) -> Iterator[Row]:
    candidates = [Candidate(r, d) for r in task.rates or RATES for d in task.decays or DECAYS]
    epochs, rows = epochs_of(task, share), []
    sweep = _sweep(task, labelled_part(task, share, task.seeds[0]), candidates, epochs)
    chosen = best(sweep) if sweep else candidates[len(candidates) // 2]
    how = str(chosen) if sweep or len(candidates) == 1 else f"{chosen} (too few labels for a sweep)"
    for seed in task.seeds:
        ids = labelled_part(task, share, seed)
        network = _fit(task, ids, chosen, epochs, seed, f"seed {seed}: fit")
        accuracy = _accuracy(task, network, task.sets.test, f"seed {seed}: score")
        if accuracy != accuracy:
            raise DataError(
                f"a fine-tuned network's scores are finite, got others after {chosen}; give lower "
                "--rates"
            )
        images = counted(len(ids), "image")
        if share < 1 and len(ids) > round(share * len(task.sets.train.ids)):
            images += f" (one a class, more than {share:.0%})"
        rows.append(
            Row(
                what=f"seed {seed}",
                scores=(accuracy,),
                seed=seed,
                note=f"{how}; {epochs:.3g} epochs of {images}",
                sweep={str(candidate): score for candidate, score in sweep.items()},
                image_ids=tuple(ids.tolist()) if share < 1 else (),
            )
        )
        yield rows[-1]
    if mean := summary(rows):
        yield mean


def _sweep(
    task: Task, ids: np.ndarray, candidates: list[Candidate], epochs: float
) -> Mapping[Candidate, float]:
    """Held-out accuracy of each candidate; of none where nothing is to be chosen or held out."""
    seed = task.seeds[0]
    fitted, held_out = held_out_part(task.labels(ids), seed)
    if len(candidates) < 2 or len(held_out) == 0 or len(fitted) < 2:
        return {}
    part, scores = replace(task.sets.train, ids=ids[held_out]), {}
    for number, candidate in enumerate(candidates, 1):
        what = f"sweep {number} of {len(candidates)}"
        network = _fit(task, ids[fitted], candidate, epochs, seed, what)
        scores[candidate] = _accuracy(task, network, part, what)
    return scores


def _fit(
    task: Task,
    ids: np.ndarray,  # [N] int64 - training images
    candidate: Candidate,
    epochs: float,
    seed: int,
    what: str,
) -> nn.Module:
    """A copy of the encoder with a linear layer, both trained."""
    if len(ids) < 2:
        raise DataError(
            f"fine-tuning needs two labelled images (batch norm), got {len(ids)} in "
            f"{task.sets.train.index.directory}; label more"
        )
    torch.manual_seed(seed)  # of what an encoder itself draws, dropped paths
    linear = nn.Linear(task.feature_dim, len(task.classes)).to(task.device)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    network = nn.Sequential(task.fresh_encoder(), linear).train().requires_grad_(True)
    batch_size = min(BATCH_SIZE, len(ids))
    total = max(1, int(epochs * len(ids) / batch_size))
    peak = peak_lr(candidate.rate, batch_size)
    optimizer = SGD(
        network.parameters(), peak, MOMENTUM, nesterov=True, weight_decay=candidate.decay
    )
    with augmented_batches(task, ids, batch_size, seed) as batches:
        for step, (images, places) in zip(range(total), batches, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = cosine(peak, 0.0, step / total)
            loss = F.cross_entropy(network(images).float(), places)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            task.on_progress(what, (step + 1) / total)
    return network


def _accuracy(task: Task, network: nn.Module, part: LabelledSet, what: str) -> float:
    """Top-1 on the centre views of a set; NaN of a network that diverged."""
    right = total = 0
    is_finite = True
    with frozen(network), torch.no_grad():
        for batch in task.views(part):
            scores = network(batch.crops[0][0].to(task.device))  # [B, K]
            is_finite &= bool(scores.isfinite().all())
            right += int((scores.argmax(dim=1) == task.places(batch.labels)).sum())
            total += batch.batch_size
            task.on_progress(what, total / len(part.ids))
    return right / total if is_finite else float("nan")
