"""DeepCluster v2: cluster what the network said in the last epoch, then predict the cluster.

Caron et al. 2020, 2006.09882, appendix D; facebookresearch/swav, main_deepclusterv2.py. The first
epoch only looks, in train mode and without a gradient: it fills the bank, so a run of E epochs
trains for E - 1. Batches cross the borders of epochs; clusters are renewed before the first step
that begins at or after one. Batch statistics are of all views of a forward, as in SwAV.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from augengine.devices.streams import upload
from augengine.views import Views
from trainer.banks.kmeans import spherical_kmeans
from trainer.banks.memory_bank import MemoryBank
from trainer.checks import require
from trainer.losses.classes import class_loss
from trainer.losses.cosine import unit_rows
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_groups, forward_views
from trainer.nets.shapes import random_unit_rows
from trainer.settings.bounds import Bounded, Count, Positive, at_most

MAX_ITERATIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The code's values."""

    num_heads: Count = 3  # clusterings, from different first centroids
    num_prototypes: Count = 3000  # clusters of each; no more than images
    hidden_dim: Count = 2048
    out_dim: Count = 128
    temperature: Positive = 0.1
    iterations: Annotated[Count, at_most(MAX_ITERATIONS)] = 10  # of k-means
    num_assign: Count = 2  # leading views with a bank each; head h clusters bank h mod num_assign


class DeepClusterV2(Method):
    """Backbone, projector, a bank, and the clusters of every head."""

    whole_epochs = True  # what the first one leaves out would be clustered as it was at random
    centroids: torch.Tensor  # [H, K, D] float32 - of length 1, never trained
    labels: torch.Tensor  # [N, H] int64 - cluster of every image; random in the first epoch

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        dims = (feature_dim(backbone), settings.hidden_dim, settings.out_dim)
        self.settings = settings
        self.min_global_views = settings.num_assign
        self.backbone = backbone
        self.projector = mlp(dims, hidden_bias=True, out_bias=True)
        self.bank = MemoryBank(settings.num_assign, settings.out_dim)
        shape = (settings.num_heads, settings.num_prototypes, settings.out_dim)
        self.register_buffer("centroids", random_unit_rows(*shape))
        self.register_buffer("labels", torch.zeros(0, settings.num_heads, dtype=torch.long))

    def prepare(self, num_images: int) -> None:
        """Rows and labels for every image."""
        settings = self.settings
        rule = f"deepclusterv2 num_prototypes is at most the number of images, {num_images}"
        few = max(1, num_images // 100)
        enough = settings.num_prototypes <= num_images
        require(enough, rule, settings.num_prototypes, f"try method.num_prototypes={few}")
        self.bank.allocate(num_images)
        shape = (num_images, settings.num_heads)
        self.labels = torch.randint(settings.num_prototypes, shape)

    def looks_only(self, progress: Progress) -> bool:
        """The first epoch fills the bank."""
        return progress.epoch < 1

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Predict the cluster of each image from all its views."""
        if _begins_epoch(progress):
            self._cluster(math.floor(progress.epoch))
        features = forward_groups(self.backbone, views.crops, per_view=False)
        z = unit_rows(forward_views(self.projector, features, per_view=False))
        ids = upload(torch.from_numpy(views.ids), z.device)
        # Not in bf16: these are logits of 3,000 classes at temperature 0.1.
        with torch.autocast(z.device.type, enabled=False):
            scores = torch.einsum("vbd,hkd->vbhk", z, self.centroids)
        loss = class_loss(scores, self.labels[ids], self.settings.temperature)
        self.bank.update(ids, z[: self.settings.num_assign].detach().transpose(0, 1))
        return StepResult(loss, z[: len(views.crops[0])].detach().flatten(0, 1))

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """Ln K, of equally large clusters."""
        return math.log(self.settings.num_prototypes)

    @torch.no_grad()
    def _cluster(self, epoch: int) -> None:
        """New centroids and labels for every head, from random rows of the bank; alike on ranks."""
        settings, rows = self.settings, self.bank.rows
        generator = torch.Generator().manual_seed(self.bank.seed + epoch)
        for head in range(settings.num_heads):
            bank = rows[:, head % settings.num_assign]
            order = torch.randperm(len(bank), generator=generator)
            first = bank[upload(order[: settings.num_prototypes], bank.device)]
            found = spherical_kmeans(bank, first, iterations=settings.iterations)
            self.centroids[head], self.labels[:, head] = found


def _begins_epoch(progress: Progress) -> bool:
    """Whether an epoch but the first has begun since the step before; once a step."""
    before = (progress.step - 1) / progress.steps_per_epoch
    return (
        progress.part == 0
        and progress.epoch >= 1
        and math.floor(progress.epoch) > math.floor(before)
    )
