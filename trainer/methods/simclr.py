"""SimCLR v1 and v2, DCL, DCLW: a view finds the other one of its image among a batch's views.

Chen et al. 2020, 2002.05709 (v1) and 2006.10029 (v2); github.com/google-research/simclr. v1 has two
projector layers, v2 three, and optionally a memory: then candidates come from a slowly moving copy,
those of this batch and of past ones. It is not in the code; the authors describe it in its issues
54, 77 and 115, and what they leave open is our choice: losses/info_nce.py, over the keys of another
global view and the queue. DCL and DCLW (Yeh et al. 2021, 2110.06848) are v1 with another loss
(losses/dcl.py). Batch statistics are of all views of a forward, as published.
"""

import math
from dataclasses import dataclass
from typing import Annotated

from torch import nn

from augengine.views import Views
from trainer.banks.embedding_queue import EmbeddingQueue
from trainer.checks import choose, require
from trainer.losses.asked_nt_xent import asked_nt_xent_loss
from trainer.losses.cosine import unit_rows
from trainer.losses.dcl import dcl_loss
from trainer.losses.info_nce import batch_info_nce
from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import MAX_LAYERS, mlp
from trainer.nets.multicrop import project_groups
from trainer.nets.stated import stated
from trainer.settings.bounds import Count, Natural, Positive, Share, at_most, check_bounds

LOSSES = ("nt_xent", "dcl", "dclw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """v1's values; v2 has three projector layers. Hidden layers are as wide as the features."""

    loss: str = "nt_xent"  # `dcl` and `dclw` set theirs
    sigma: Positive = 0.5  # of dclw's weights: smaller, the more they differ
    # 1: linear; 0: none, embeddings are the features (the paper's figure 8).
    projector_layers: Annotated[Natural, at_most(MAX_LAYERS)] = 2
    out_dim: Count = 128  # of a projector
    temperature: Positive = 0.1  # 0.5 on CIFAR
    code_scale: bool = False  # twice the paper's mean, as the code, which adds two views' means
    queue_length: Natural = 0  # keys over all ranks; 0: no memory (v2's: 65536)
    momentum: Share = 0.999  # of the memory's network, constant

    def __post_init__(self) -> None:
        check_bounds("simclr", self)
        choose("simclr loss", self.loss, LOSSES)
        rule = "simclr has a memory with loss nt_xent alone"
        alone = self.loss == "nt_xent" or not self.queue_length
        require(alone, rule, self.loss, "try method.queue_length=0")


class SimCLR(MomentumMethod):
    """Backbone and projector; with a memory their moving averages and a queue."""

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__(settings.momentum, final=None)
        self.settings = settings
        self.backbone = backbone
        self.projector = _projector(feature_dim(backbone), settings)
        # With a memory nearly all candidates come from it.
        self.batch_loss = None if settings.queue_length else "candidates"
        # DCL's queries are its candidates.
        self.states = ("queries",) if settings.loss == "nt_xent" else ()
        if settings.queue_length:
            self.follow("key", "backbone", "projector")
            out = settings.out_dim if settings.projector_layers else feature_dim(backbone)
            self.queue = EmbeddingQueue(settings.queue_length, out)

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Tell every view's image among the candidates of every other global view."""
        z = project_groups(self.backbone, self.projector, views.crops, per_view=False)
        num_global, settings = len(views.crops[0]), self.settings
        if settings.queue_length:
            # The positives too, or the network tells keys from its own output.
            keys = unit_rows(self.targets(views.crops[0], per_view=False))
            queries = stated("queries", z)
            loss = batch_info_nce(queries, keys, settings.temperature, self.queue.rows)
            for view in keys:
                self.queue.push(view)
        elif settings.loss == "nt_xent":
            queries = stated("queries", z)
            loss = asked_nt_xent_loss(queries, z, num_global, settings.temperature)
        else:
            sigma = settings.sigma if settings.loss == "dclw" else None
            loss = dcl_loss(z, num_global, settings.temperature, sigma)
        if settings.code_scale:
            loss = 2 * loss
        return StepResult(loss, z[:num_global].detach().flatten(0, 1))

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """All candidates of a query are alike; the memory's number grows."""
        settings = self.settings
        if settings.queue_length:
            candidates = num_images + len(self.queue.rows)
        else:  # DCL leaves the positive out
            candidates = 2 * num_images - (1 if settings.loss == "nt_xent" else 2)
        return (2 if settings.code_scale else 1) * math.log(candidates)


def _projector(dim: int, settings: Settings) -> nn.Module:
    """[N, dim] -> [N, out_dim]; the features themselves without layers."""
    if not settings.projector_layers:
        return nn.Identity()
    dims = (*[dim] * settings.projector_layers, settings.out_dim)
    layers = mlp(dims, hidden_bias=False, out_bias=False, out_norm=True, out_scale=True)
    return layers.apply(_initialize)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
