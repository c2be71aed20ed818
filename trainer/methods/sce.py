"""SCE: a view finds its image's key, and is as near to other images as that key is.

Denize et al. 2023, 2111.14585; github.com/CEA-LIST/SCE, sce/models/siamese. MoCo's question and
ReSSL's in one softmax (losses/relational.py). With `symmetric` every global view gives keys to all
other views, the ImageNet runs; without it the first global view alone does, the weak one of policy
`ressl`, as the CIFAR-10 run has it. Local views only ask. Batch statistics are per view, as in
separate forwards: over all ranks, or of `groups` parts of the images, between which keys are
shuffled (shuffle.py).
"""

import math
from dataclasses import dataclass

from torch import nn

from augengine.views import Views
from trainer.banks.embedding_queue import EmbeddingQueue
from trainer.distributed import world_size
from trainer.losses.cosine import unit_rows
from trainer.losses.relational import similarity_loss
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import NumLayers, mlp
from trainer.nets.multicrop import forward_views, project_groups
from trainer.nets.shuffle import check_groups, check_shuffle, forward_keys
from trainer.settings.bounds import Count, Positive, Share, check_bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The code's values for ImageNet, two views."""

    projector_layers: NumLayers = 3
    hidden_dim: Count = 2048  # of the projector
    out_dim: Count = 256
    projector_norm: bool = True  # batch norm after the projector
    predictor_dim: Count | None = 4096  # hidden one of the predictor; null: there is none
    own_share: Share = 0.5  # lambda: of InfoNCE; the relations have what is left of 1
    temperature: Positive = 0.1
    key_temperature: Positive = 0.07
    queue_length: Count = 65536  # over all ranks
    momentum: Share = 0.99  # of the keys' network at step 0
    final_momentum: Share | None = 1.0  # at the end, on a cosine; null: it stays
    symmetric: bool = True  # every global view gives keys; false: the first one, and asks nothing
    groups: Count = 1  # parts of a batch with batch statistics of their own; 1: over all ranks
    shuffle: bool = False  # keys are grouped otherwise than queries

    def __post_init__(self) -> None:
        check_bounds("sce", self)
        check_shuffle("sce", self.groups, shuffle=self.shuffle)


class SCE(MomentumMethod):
    """Backbone, projector, predictor for queries; moving averages of the first two; the queue."""

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum, final=settings.final_momentum)
        hidden, out = settings.hidden_dim, settings.out_dim
        dims = (feature_dim(backbone), *[hidden] * (settings.projector_layers - 1), out)
        norm, asks = settings.projector_norm, settings.predictor_dim
        self.settings = settings
        self.first_seen_view = 0 if settings.symmetric else 1
        self.sync_batch_norm = settings.groups == 1
        self.unaligned = ("key_backbone", "key_projector") if settings.shuffle else ()
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=False, out_bias=not norm, out_norm=norm)
        self.predictor = (
            nn.Identity()
            if asks is None
            else mlp((out, asks, out), hidden_bias=False, out_bias=False)
        )
        self.follow("key", "backbone", "projector")
        self.queue = EmbeddingQueue(settings.queue_length, out, random=True)

    def check_images(self, num_images: int) -> None:
        """Ranks share the groups evenly, groups the images, and each has two for batch norm."""
        if self.settings.groups == 1:
            super().check_images(num_images)
        else:
            check_groups("sce", self.settings.groups, num_images)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Every query against the keys of other views and the queue as it was before this batch."""
        settings, crops = self.settings, views.crops[0]
        parts = max(1, settings.groups // world_size())
        asking, answering = (crops, crops) if settings.symmetric else (crops[1:], crops[:1])
        groups = [asking, *views.crops[1:]]
        z = project_groups(self.backbone, self.projector, groups, per_view=True, parts=parts)
        q = forward_views(self.predictor, z, per_view=True, parts=parts)
        order = progress.step if settings.shuffle else None
        k = unit_rows(forward_keys(self.followers, answering, parts=parts, step=order))
        loss, entropy = similarity_loss(
            q,
            k,
            self.queue.rows,
            settings.temperature,
            settings.key_temperature,
            settings.own_share,
            skip_own=settings.symmetric,
        )
        for view in k:
            self.queue.push(view)
        metrics = {"relation_entropy": entropy, "momentum": self.momentum(progress)}
        return StepResult(loss, z[: len(asking)].detach().flatten(0, 1), metrics)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All candidates are alike: the key and the queue."""
        return math.log(1 + self.settings.queue_length)
