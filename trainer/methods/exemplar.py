"""Exemplar-CNN: every image is a class, every view of it a sample, and a linear layer tells them.

Dosovitskiy et al. 2014, 1406.6909 (from reviews: the code was not read). A class is an image of the
data set, and the softmax over all of them is exact: weights, gradient and momentum take 3 N x D x 4
bytes, scores V x B x N x 4. The paper cuts patches of 32 px where the gradient is strong and finds
about 8,000 classes best: pack as many images. Its views are rotated and its contrast follows the
colours' principal components; ours are what the policy says (policies/exemplar.yaml). Its small
network is replaced by the backbone, and the ReLU after the fully connected layer by a batch norm
without scale and shift: what all images have in common would otherwise favour the classes seen last
and drown the rest. The classifier starts from zeros.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from augengine.devices.streams import upload
from augengine.views import Views
from trainer.losses.classes import class_loss
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_views, project_groups
from trainer.settings.bounds import Bounded, Count, ShareBelow1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Bounded):
    """The paper's larger networks end in 512 or 1,024 units; its dropout we could not verify."""

    out_dim: Count = 1024  # of the fully connected layer
    dropout: ShareBelow1 = 0.5


class Exemplar(Method):
    """Backbone, a fully connected layer, a class for every image."""

    min_global_views = 1
    classifier: nn.Linear  # made by `prepare`

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        dims = (feature_dim(backbone), settings.out_dim)
        head = mlp(dims, hidden_bias=False, out_bias=False, out_norm=True)
        self.projector = head.append(nn.Dropout(settings.dropout))

    def prepare(self, num_images: int) -> None:
        """A class for every image."""
        self.classifier = nn.Linear(self.settings.out_dim, num_images)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Tell from every view which image it is of."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=False)
        scores = forward_views(self.classifier, z, per_view=False)  # [V, B, N]
        ids = upload(torch.from_numpy(views.ids), scores.device)
        embeddings = z[: len(views.crops[0])].detach().flatten(0, 1)
        return StepResult(class_loss(scores, ids), embeddings)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """Ln N: all images are as likely."""
        return math.log(self.classifier.out_features)
