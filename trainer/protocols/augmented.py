"""Training batches of a protocol: random crops and flips of some training images, by a seed.

The papers' own views for a linear layer and for fine-tuning: crops of 8 to 100 % of the image,
flipped half of the time, and no colour (Chen et al. 2020, 2002.05709, B.5 and B.6).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from augengine.loader.view_loader import ViewLoader
from trainer.eval.finetune import crops_and_flips
from trainer.eval.subset import SubsetOrder
from trainer.protocols.task import Task
from trainer.setup.decoding import reading

Batch = tuple[torch.Tensor, torch.Tensor]  # images [B, 3, S, S], rows of the linear layer [B]


@contextmanager
def augmented_batches(
    task: Task,
    ids: np.ndarray,  # [N] int64 - training images
    batch_size: int,
    seed: int,  # of the order and the crops
) -> Iterator[Iterator[Batch]]:
    """An endless stream of batches on the task's device; the threads end with the block."""
    views, train = task.views, task.sets.train
    with ViewLoader(
        train.index,
        crops_and_flips(views.policy, views.size_px),
        batch_size=batch_size,
        seed=seed,
        backend=views.backend,
        on_warning=partial(views.note, train),
        order=SubsetOrder(ids, seed, train.index),
        **reading(views.data, views.decoder),
    ) as loader:
        yield (
            (batch.crops[0][0].to(task.device), task.places(train.renumber(batch.labels)))
            for batch in loader
        )
