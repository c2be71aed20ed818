"""MSF: an embedding moves towards the mean of its nearest neighbours among past ones.

Koohpayegani et al. 2021, 2105.07269; github.com/UMBCvision/MSF, train_msf.py. The first global view
is the target network's, which sees no other: the weak one of policy `ressl`. A target joins the
queue before its neighbours are looked for, and so is the first of them. All other views predict,
local ones too (ours; the paper has one). Targets pass shuffled, and batch norms see one of `groups`
equal parts of a view's images, the code's four GPUs (shuffle.py).
"""

from dataclasses import dataclass

from torch import nn

from augengine.views import Views
from trainer.banks.embedding_queue import EmbeddingQueue
from trainer.banks.nearest_rows import nearest_rows
from trainer.checks import require
from trainer.distributed import world_size
from trainer.losses.cosine import unit_rows
from trainer.losses.mean_shift import mean_shift_loss
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.multicrop import forward_views, project_groups
from trainer.nets.shuffle import check_groups, check_shuffle, forward_keys
from trainer.settings.bounds import Count, Share, check_bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The code's values, of a ResNet-50 and its README's command."""

    hidden_dim: Count = 4096  # of projector and predictor: twice the features
    out_dim: Count = 512  # a quarter of the features
    neighbours: Count = 10  # the target itself among them; 1 is BYOL
    queue_length: Count = 128000  # over all ranks
    momentum: Share = 0.99  # of the targets' network, constant
    groups: Count = 4  # parts of a batch, over all ranks, with batch statistics of their own
    shuffle: bool = True  # targets are grouped otherwise than predictions

    def __post_init__(self) -> None:
        check_bounds("msf", self)
        check_shuffle("msf", self.groups, shuffle=self.shuffle)
        rule = f"msf neighbours are of the queue's {self.queue_length} rows"
        fits = self.neighbours <= self.queue_length
        require(fits, rule, self.neighbours, "lower it or raise method.queue_length")


class MSF(MomentumMethod):
    """Backbone, projector, predictor; target backbone and projector; the queue of targets."""

    first_seen_view = 1
    sync_batch_norm = False
    unaligned = ("target_backbone", "target_projector")  # they see the images in another order
    constant_is_best = True

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum, final=None)
        dim, hidden, out = feature_dim(backbone), settings.hidden_dim, settings.out_dim
        self.settings = settings
        self.backbone = backbone
        self.projector = mlp((dim, hidden, out), hidden_bias=True, out_bias=True)
        self.predictor = mlp((out, hidden, out), hidden_bias=True, out_bias=True)
        self.follow("target", "backbone", "projector")
        self.queue = EmbeddingQueue(settings.queue_length, out, random=True)

    def check_images(self, num_images: int) -> None:
        """Groups fit ranks and images, and the queue holds every target of the batch."""
        check_groups("msf", self.settings.groups, num_images)
        length = self.settings.queue_length
        rule = f"msf queue_length is at least the {num_images} images of a forward"
        require(length >= num_images, rule, length, "raise method.queue_length")

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Every view predicts the neighbours that the weak view's target has in the queue."""
        settings, crops = self.settings, views.crops
        asking, weak = crops[0][1:], crops[0][:1]
        parts = settings.groups // world_size()
        groups = [asking, *crops[1:]]
        z = project_groups(self.backbone, self.projector, groups, per_view=True, parts=parts)
        p = forward_views(self.predictor, z, per_view=True, parts=parts)
        order = progress.step if settings.shuffle else None
        targets = unit_rows(forward_keys(self.followers, weak, parts=parts, step=order))[0]
        self.queue.push(targets)
        neighbours, cosines = nearest_rows(targets, self.queue.rows, settings.neighbours)
        loss = mean_shift_loss(p, neighbours)
        metrics = {"neighbour_cosine": cosines.mean()}
        return StepResult(loss, z[: len(asking)].detach().flatten(0, 1), metrics)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """Every prediction is right."""
        return 0.0
