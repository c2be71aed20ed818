"""Fine-tuning: the whole network trained on a part of the labels, as SimCLR and its successors do.

Protocol (print it beside the number): SGD with Nesterov momentum 0.9, rate 0.05 x batch / 256 on a
cosine to 0 without warm-up, no weight decay, crops of 8 to 100 % of the image and flips, batch norm
in training mode; 60 epochs on 1 % of the labels, else 30 (Chen et al. 2020, 2002.05709, B.5, which
has a batch of 4096). SimCLR v2 keeps the first layer of its projector and uses LARS (2006.10029).
The last epoch is scored: no test label chooses anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from augengine.devices.streams import upload
from augengine.loader.view_loader import ViewLoader
from augengine.policy import CropGroup, Policy, ViewPolicy
from augengine.views import Views
from shards.errors import DataError
from shards.terminal.console import new_console
from shards.terminal.counted import counted
from trainer.checkpoint import child_weights
from trainer.config import TrainConfig
from trainer.eval.evaluation import Evaluation
from trainer.eval.features import frozen
from trainer.eval.labelled import LabelledSet
from trainer.eval.subset import SubsetOrder, label_subset
from trainer.methods.method_table import method_class
from trainer.nets.classifier import Classifier, first_layers, save_classifier
from trainer.optim.schedule import cosine, peak_lr
from trainer.optim.uncompiled import SGD
from trainer.setup.decoding import reading
from trainer.setup.networks import (
    backbone_arguments,
    build_encoder,
    build_head,
    encoder_weights,
    load_weights,
)

BATCH_SIZE = 256
BASE_LR = 0.05
MOMENTUM = 0.9
MAX_CLASSES = 1_000_000  # larger numbers are ids of something
SEED = 0  # of the subset, the order, the crops


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneScore:
    """The result of a fine-tuning, and its origin."""

    share: float  # of the labels
    images: int
    bad_images: int  # of these, replaced by others among them, since they cannot be read
    epochs: float
    head_layers: int  # kept of the projector
    test_images: int
    accuracy: float  # top-1 on the test images, in [0, 1]


def finetune_run(
    run: Path,
    config: TrainConfig,
    state: dict[str, Any],  # of a checkpoint
    evaluation: Evaluation,
    share: float,
    head_layers: int,
    epochs: float | None,
) -> FinetuneScore:
    """Fine-tune a run's encoder; the classifier goes into its folder, as finetuned-SHARE.pt."""
    views, weights = evaluation.views, encoder_weights(config, state)
    encoder = build_encoder(config, views.policy, weights)
    load_weights(encoder, weights)
    neck = first_layers(_projector(config, encoder, state) if head_layers else None, head_layers)
    classifier, result = finetune(encoder, neck, evaluation, share, epochs)
    path = run / f"finetuned-{share:g}.pt"
    save_classifier(path, classifier, backbone_arguments(config, views.policy))
    labels = f"{share:g} of all"
    labels += f"; {result.bad_images:,} bad ones replaced" if result.bad_images else ""
    new_console(soft_wrap=True).print(
        f"fine-tuned: {result.accuracy:.1%} top-1 on "
        f"{counted(result.test_images, 'held-out image')}, after {counted(result.epochs, 'epoch')} "
        f"of {result.images:,} labelled ones ({labels}); layers kept of the projector: "
        f"{head_layers}; {views.describe(evaluation.sets)}; {path}"
    )
    return result


def _projector(config: TrainConfig, encoder: nn.Module, state: dict[str, Any]) -> nn.Module | None:
    """The trained projector; a teacher's, where the encoder is a teacher's backbone."""
    name = method_class(config.method.name).encoder_name.removesuffix("backbone") + "projector"
    projector = build_head(config, encoder, name)
    if projector is not None:
        load_weights(projector, child_weights(state, name))
    return projector


def finetune(
    encoder: nn.Module,  # trained; changed in place
    neck: nn.Sequential,  # the kept layers of the projector; changed too
    evaluation: Evaluation,
    share: float,
    epochs: float | None,  # None: the protocol's
) -> tuple[Classifier, FinetuneScore]:
    """Train encoder, neck and a new linear layer on `share` of the labels; score on the others.

    Raises:
        DataError: class numbers too large for a score each, or images that cannot be read.
    """
    views, sets, device = evaluation.views, evaluation.sets, evaluation.device
    train = sets.train.index
    num_classes = _num_scores(sets.train)
    ids = label_subset(train.labels(np.arange(len(train))), share, SEED)
    if len(ids) < 2:
        raise DataError(
            f"fine-tuning needs two labelled images (batch norm), got {len(ids)} in "
            f"{train.directory}; label more, or raise --finetune"
        )
    if epochs is None:
        epochs = 60.0 if share <= 0.01 else 30.0
    classifier = Classifier(encoder, neck, num_classes, train.classes).to(device)
    batch_size = min(BATCH_SIZE, len(ids))
    total = max(1, int(epochs * len(ids) / batch_size))
    with ViewLoader(
        train,
        crops_and_flips(views.policy, views.size_px),
        batch_size=batch_size,
        seed=SEED,
        backend=views.backend,
        on_warning=partial(views.note, sets.train),
        order=SubsetOrder(ids, SEED, train),
        **reading(views.data, views.decoder),
    ) as loader:
        fit(classifier, loader, total, peak_lr(BASE_LR, batch_size), device)
        num_bad = len(loader.bad_samples)
    accuracy, num_scored = score(classifier, views(sets.test), device)
    return classifier, FinetuneScore(
        share=share,
        images=len(ids),
        bad_images=num_bad,
        epochs=epochs,
        head_layers=sum(isinstance(layer, nn.Linear) for layer in neck),
        test_images=num_scored,
        accuracy=accuracy,
    )


def _num_scores(train: LabelledSet) -> int:
    """A score for every class: with a name, or up to the largest number."""
    largest = int(train.numbers.max())
    if largest >= MAX_CLASSES:
        raise DataError(
            f"fine-tuning takes class numbers below {MAX_CLASSES:,}, got {largest} in "
            f"{train.index.directory}; number the classes from 0"
        )
    return max(len(train.index.classes), largest + 1)


def fit(
    classifier: nn.Module, loader: ViewLoader, total: int, peak: float, device: torch.device
) -> None:
    """`total` steps of the protocol's SGD on the labels of the views, in place."""
    classifier.train().requires_grad_(True)  # an encoder may be a teacher, which was frozen
    optimizer = SGD(classifier.parameters(), peak, MOMENTUM, nesterov=True)
    for step in range(total):
        views = next(loader)
        for group in optimizer.param_groups:
            group["lr"] = cosine(peak, 0.0, step / total)
        labels = upload(torch.from_numpy(views.labels).long(), device)
        loss = F.cross_entropy(classifier(views.crops[0][0].to(device)), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def score(classifier: nn.Module, views: Iterable[Views], device: torch.device) -> tuple[float, int]:
    """Share of the centre views classified rightly, in [0, 1], and how many there were."""
    right = total = 0
    with frozen(classifier), torch.no_grad():
        for batch in views:
            predicted = classifier(batch.crops[0][0].to(device)).argmax(1).cpu()
            right += int((predicted == torch.from_numpy(batch.labels)).sum())
            total += batch.batch_size
    return right / total, total


def crops_and_flips(policy: Policy, size_px: int) -> Policy:
    """One random crop, perhaps flipped, with the run's normalisation."""
    view = ViewPolicy(scale=(0.08, 1.0), flip=0.5)
    groups = (CropGroup(1, size_px, (view,)),)
    return replace(policy, name="crops and flips", groups=groups, heavy=None)
