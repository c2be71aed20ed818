"""MoCo v1 and v2: a query finds its image's key among those of many past batches, in a queue.

He et al. 2020, 1911.05722 (v1) and Chen et al. 2020, 2003.04297 (v2); github.com/facebookresearch/
moco, moco/builder.py. The two differ in head and temperature here, in views and schedule in their
recipes. As published the last global view gives the keys and the others ask; with `symmetric` every
global view does both (the authors' CIFAR-10 demo). Local views only ask. Keys pass shuffled, and
batch norms see one of `groups` equal parts of a view's images (shuffle.py): the paper's eight GPUs
on any number of them, so that one device trains exactly as eight.

The last five settings are MoCo v2+'s, which stands to MoCo v2 as to BYOL: Huang, Kong, Zhang 2022,
2208.00275; megvii-research/revisitAIRL (7afeb02), exp/mocov2_plus.py, models/utils/mlp.py.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from augengine.views import Views
from trainer.banks.embedding_queue import EmbeddingQueue
from trainer.checks import choose, require
from trainer.distributed import world_size
from trainer.losses.cosine import unit_rows
from trainer.losses.own_negatives import Negatives, negatives_info_nce
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_views, project_groups
from trainer.nets.shuffle import check_groups, check_shuffle, forward_keys
from trainer.nets.stated import stated
from trainer.settings.bounds import Count, Positive, Share, check_bounds

HEADS = ("linear", "mlp", "mlp_norm")
ENQUEUED = ("all", "one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """v2's values; `mocov1` sets head linear and temperature 0.07."""

    head: str = "mlp"  # of two layers; mlp_norm: with batch norm between them
    out_dim: Count = 128
    temperature: Positive = 0.2
    queue_length: Count = 65536  # over all ranks; fewer than images, or their former keys repel
    momentum: Share = 0.999  # of the keys' network, constant
    groups: Count = 8  # parts of a batch, over all ranks, with batch statistics of their own
    shuffle: bool = True  # keys are grouped otherwise than queries
    symmetric: bool = False  # the sum of both directions, as in the demo
    hidden_dim: Count | None = None  # of projector and predictor; null: as wide as the features
    predictor: bool = False  # queries pass one, with batch norm, after the projector
    key_predictor: bool = False  # keys pass its moving average (S-MoCo v2+)
    ramp: bool = False  # a cosine takes the momentum to 1 at the end
    enqueue: str = "all"  # or one: of the key views only one, drawn every step, enters the queue

    def __post_init__(self) -> None:
        check_bounds("moco", self)
        choose("moco head", self.head, HEADS)
        choose("moco enqueue", self.enqueue, ENQUEUED)
        rule = "moco key_predictor is a moving average of the predictor"
        require(self.predictor or not self.key_predictor, rule, "none", "add method.predictor=true")
        check_shuffle("moco", self.groups, shuffle=self.shuffle)


class MoCo(MomentumMethod):
    """Backbone and projector for queries; their moving averages for keys; the queue."""

    sync_batch_norm = False
    unaligned = ("key_backbone", "key_projector")  # they see the images in another order
    states = ("queries", "negatives")

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum, final=1.0 if settings.ramp else None)
        dim, out = feature_dim(backbone), settings.out_dim
        hidden, norm = settings.hidden_dim or dim, settings.head == "mlp_norm"
        dims = (dim, out) if settings.head == "linear" else (dim, hidden, out)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=True, out_bias=True, hidden_norm=norm)
        self.follow("key", "backbone", "projector")
        # Not there at all without the setting: a term that needs predictions is refused then.
        if settings.predictor:
            self.predictor = mlp((out, hidden, out), hidden_bias=True, out_bias=True)
        if settings.key_predictor:
            self.follow("key", "predictor")
            self.unaligned = (*self.unaligned, "key_predictor")
        self.sync_batch_norm = settings.groups == 1  # one group is the whole batch, on all ranks
        self.queue = EmbeddingQueue(settings.queue_length, out, random=True)

    def check_images(self, num_images: int) -> None:
        """Ranks share the groups evenly, groups the images, and each has two for batch norm.

        One group is the whole batch, whose statistics all ranks have in common.
        """
        if self.settings.groups == 1:
            super().check_images(num_images)
        else:
            check_groups("moco", self.settings.groups, num_images)

    def seen_global_views(self, num_global: int) -> int:
        """All but the one that gives the keys."""
        return num_global if self.settings.symmetric else num_global - 1

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Every query against its image's key and the queue as it was before this batch."""
        crops, symmetric = views.crops[0], self.settings.symmetric
        asking, answering = (crops, crops) if symmetric else (crops[:-1], crops[-1:])
        parts = max(1, self.settings.groups // world_size())
        groups = [asking, *views.crops[1:]]
        q = project_groups(self.backbone, self.projector, groups, per_view=True, parts=parts)
        if self.settings.predictor:
            q = forward_views(self.predictor, q, per_view=True, parts=parts)
        q = unit_rows(q)
        order = progress.step if self.settings.shuffle else None
        k = unit_rows(forward_keys(self.followers, answering, parts=parts, step=order))
        queries, negatives = stated("queries", q), stated("negatives", Negatives(self.queue.rows))
        temperature = self.settings.temperature
        loss = negatives_info_nce(queries, k, negatives, temperature, skip_own=symmetric)
        for view in self._entering(k, progress.step):
            self.queue.push(view)
        embeddings = q[: len(asking)].detach().flatten(0, 1)
        return StepResult(2 * loss if symmetric else loss, embeddings)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All candidates are alike: the key and the queue."""
        directions = 2 if self.settings.symmetric else 1
        return directions * math.log(1 + self.settings.queue_length)

    def _entering(self, keys: torch.Tensor, step: int) -> torch.Tensor:
        """[K or 1, B, D]: the views whose keys enter the queue, a function of the step alone."""
        if self.settings.enqueue == "all":
            return keys
        generator = torch.Generator().manual_seed(step)
        one = int(torch.randint(len(keys), (), generator=generator))
        return keys[one : one + 1]
