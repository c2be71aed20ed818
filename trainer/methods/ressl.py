"""ReSSL: a strongly changed view is as near to other images as a weakly changed one is.

Zheng et al. 2021, 2107.09282; github.com/KyleZheng1997/ReSSL, ressl.py, ressl_multi.py. The first
global view is the momentum network's, which sees no other: the weak one of policy `ressl`. All
others ask, local ones too, and none is compared with its own image. Keys pass shuffled, and batch
norms see one of `groups` equal parts of a view's images, the paper's eight GPUs (shuffle.py).
"""

import math
from dataclasses import dataclass

from torch import nn

from augengine.views import Views
from trainer.banks.embedding_queue import EmbeddingQueue
from trainer.distributed import world_size
from trainer.losses.cosine import unit_rows
from trainer.losses.relational import relational_loss
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import project_groups
from trainer.nets.shuffle import check_groups, check_shuffle, forward_keys
from trainer.settings.bounds import Count, Positive, Share, check_bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The code's values."""

    hidden_dim: Count = 4096
    out_dim: Count = 512
    head_norm: bool = False  # batch norm in the head: a small queue collapses without it
    temperature: Positive = 0.1
    key_temperature: Positive = 0.04
    queue_length: Count = 131072  # over all ranks
    momentum: Share = 0.999  # of the keys' network at step 0
    final_momentum: Share | None = None  # at the end, on a cosine; null: it stays
    groups: Count = 8  # parts of a batch, over all ranks, with batch statistics of their own
    shuffle: bool = True  # keys are grouped otherwise than queries

    def __post_init__(self) -> None:
        check_bounds("ressl", self)
        check_shuffle("ressl", self.groups, shuffle=self.shuffle)


class ReSSL(MomentumMethod):
    """Backbone and projector; their moving averages for keys; the queue."""

    first_seen_view = 1
    sync_batch_norm = False
    unaligned = ("key_backbone", "key_projector")  # they see the images in another order

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum, final=settings.final_momentum)
        dims = (feature_dim(backbone), settings.hidden_dim, settings.out_dim)
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=True, out_bias=True, hidden_norm=settings.head_norm)
        self.follow("key", "backbone", "projector")
        self.queue = EmbeddingQueue(settings.queue_length, settings.out_dim, random=True)

    def check_images(self, num_images: int) -> None:
        """Ranks share the groups evenly, groups the images, and each has two for batch norm."""
        check_groups("ressl", self.settings.groups, num_images)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Every view's relations to the queue against the weak view's, before this batch is in."""
        settings, crops = self.settings, views.crops
        asking, weak = crops[0][1:], crops[0][:1]
        parts = settings.groups // world_size()
        groups = [asking, *crops[1:]]
        q = project_groups(self.backbone, self.projector, groups, per_view=True, parts=parts)
        order = progress.step if settings.shuffle else None
        k = unit_rows(forward_keys(self.followers, weak, parts=parts, step=order))
        loss, entropy = relational_loss(
            q, k, self.queue.rows, settings.temperature, settings.key_temperature
        )
        self.queue.push(k[0])
        metrics = {
            "relation_entropy": entropy,  # ln of the queue's length: collapse
            "momentum": self.momentum(progress),
        }
        return StepResult(loss, q[: len(asking)].detach().flatten(0, 1), metrics)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All rows of the queue are alike."""
        return math.log(self.settings.queue_length)
