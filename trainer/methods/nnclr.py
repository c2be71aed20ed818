"""NNCLR: not the view itself but its nearest neighbour of past batches is what to agree with.

Dwibedi et al. 2021, 2104.14548; there is no official code, and solo-learn and lightly were read
instead: the queue takes the projections of one view only, after the loss. Neighbours of global
views are asked for, predictions of all views answer; more than two are our generalisation. The
first batches meet random neighbours. Batch statistics are per view, as in separate forwards.
"""

import math
from dataclasses import dataclass

from torch import nn

from augengine.views import Views
from trainer.banks.embedding_queue import EmbeddingQueue
from trainer.banks.nearest_rows import nearest_rows
from trainer.losses.cosine import unit_rows
from trainer.losses.info_nce import batch_info_nce
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import NumLayers, mlp
from trainer.nets.multicrop import forward_views, project_groups
from trainer.settings.bounds import Bounded, Count, Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The paper's widths and longest queue; its temperature we could not verify."""

    projector_layers: NumLayers = 3
    hidden_dim: Count = 2048  # of the projector
    out_dim: Count = 256
    predictor_dim: Count = 4096
    temperature: Positive = 0.1
    queue_length: Count = 98304  # over all ranks; more than there are kinds of images


class NNCLR(Method):
    """Backbone, projector, predictor, and a queue of projections."""

    batch_loss = "candidates"

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        hidden, out = settings.hidden_dim, settings.out_dim
        dims = (feature_dim(backbone), *[hidden] * (settings.projector_layers - 1), out)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(
            dims,
            hidden_bias=False,
            out_bias=False,
            out_norm=True,
            out_scale=True,
            out_shift=True,
        )
        self.predictor = mlp((out, settings.predictor_dim, out), hidden_bias=False, out_bias=True)
        self.queue = EmbeddingQueue(settings.queue_length, out, random=True)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """The neighbour of every global view finds its image among predictions of other views."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=True)
        p = forward_views(self.predictor, z, per_view=True)
        global_z = unit_rows(z[: len(views.crops[0])].detach())
        neighbours, cosines = nearest_rows(global_z, self.queue.rows)
        # Predictions are the candidates, and of all ranks: they carry the gradient.
        loss = batch_info_nce(neighbours[..., 0, :], p, self.settings.temperature)
        # Not before the search, or everyone's nearest neighbour would be itself.
        self.queue.push(global_z[0])
        metrics = {"neighbour_cosine": cosines.mean()}
        return StepResult(loss, global_z.flatten(0, 1), metrics)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All candidates are alike: the batch."""
        return math.log(num_images)
