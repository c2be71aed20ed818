"""SwAV: views agree on a soft cluster, and clusters are kept equally full.

Caron et al. 2020, 2006.09882; github.com/facebookresearch/swav, main_swav.py. The queue holds the
same rows on every rank (gathered), and each rank's Sinkhorn takes its share of them: a checkpoint
of one rank is the whole state, on any number of ranks. Batch statistics are of all views of a
forward, as published.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from augengine.views import Views
from trainer.banks.embedding_queue import EmbeddingQueue
from trainer.checks import require
from trainer.distributed import rank, world_size
from trainer.losses.codes import Codes
from trainer.losses.cosine import unit_rows
from trainer.losses.sinkhorn import sinkhorn_codes
from trainer.losses.swapped import swapped_prediction
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_groups, forward_views
from trainer.settings.bounds import Bounded, Count, Natural, NotNegative, Positive, at_most

MAX_ITERATIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The paper's values at batch 4096; at batch 256 it adds a queue of 3840."""

    num_prototypes: Count = 3000  # a few times batch + queue at most
    hidden_dim: Count = 2048
    out_dim: Count = 128
    temperature: Positive = 0.1
    epsilon: Positive = 0.05  # smaller: sharper codes
    iterations: Annotated[Count, at_most(MAX_ITERATIONS)] = 3  # of Sinkhorn
    freeze_epochs: NotNegative = 1.0  # prototypes stay as they are for so long
    queue_length: Natural = 0  # embeddings over all ranks; 0: no queue
    queue_start_epoch: NotNegative = 15.0  # filled from here on, used once full
    num_assign: Count | None = None  # leading views that give codes; null: the global ones


class SwAV(Method):
    """Backbone, projector, prototypes, and a queue of embeddings."""

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        dims = (feature_dim(backbone), settings.hidden_dim, settings.out_dim)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=True, out_bias=True)
        self.prototypes = nn.Linear(settings.out_dim, settings.num_prototypes, bias=False)
        # With a queue codes are balanced over it and the images of a forward.
        self.batch_loss = None if settings.queue_length else "balanced codes"
        self.queue = EmbeddingQueue(settings.queue_length, settings.out_dim)  # [A, rows so far, D]

    def check_views(self, group_sizes: tuple[int, ...]) -> None:
        """Besides two global views: only global views give codes."""
        super().check_views(group_sizes)
        assign = self.settings.num_assign or 1
        rule = f"swav num_assign is at most the number of global views, {group_sizes[0]}"
        require(assign <= group_sizes[0], rule, assign, "lower it or leave it out")

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Predict the codes of the assigned views from the scores of all the others."""
        # In place and outside the graph: the optimizer steps from unit rows, as published.
        with torch.no_grad():
            self.prototypes.weight.copy_(unit_rows(self.prototypes.weight))
        features = forward_groups(self.backbone, views.crops, per_view=False)
        z = unit_rows(forward_views(self.projector, features, per_view=False))
        scores = self.prototypes(z)
        num_global = len(views.crops[0])
        assign = self.settings.num_assign or num_global
        codes = self._codes(z[:assign].detach(), scores[:assign].detach(), progress)
        loss, entropy = swapped_prediction(scores, codes, self.settings.temperature)
        return StepResult(loss, z[:num_global].detach().flatten(0, 1), {"code_entropy": entropy})

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """Ln K: codes are balanced whatever the scores."""
        return math.log(self.settings.num_prototypes)

    def before_optimizer(self, progress: Progress) -> None:
        """Keep the prototypes where they are for the first epoch."""
        if progress.epoch < self.settings.freeze_epochs:
            # None, not zero: momentum and weight decay must rest as well.
            self.prototypes.weight.grad = None

    @torch.no_grad()
    def _codes(self, z: torch.Tensor, scores: torch.Tensor, progress: Progress) -> Codes:
        """Of the batch, balanced together with the queue's rows."""
        settings, queue = self.settings, None
        if self.queue.is_full:
            # Embeddings are kept, not scores: the prototypes have moved since.
            queue = self.prototypes(self.queue.rows.tensor_split(world_size(), dim=1)[rank()])
        codes = sinkhorn_codes(
            scores, queue, epsilon=settings.epsilon, iterations=settings.iterations
        )
        if settings.queue_length and progress.epoch >= settings.queue_start_epoch:
            self.queue.push(z)
        return codes
