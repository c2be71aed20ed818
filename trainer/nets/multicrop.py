"""One forward per crop group: view-major crops in, one row of features for every view out.

Every method goes through here, so that none can forward a view twice or lose the order of views:
global views first, each group's views one after the other, as in Views.

Legend: B images, V views over all groups, D features.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import nn

from trainer.nets.batchnorm import chunked_statistics

Outputs = list[tuple[nn.Module, torch.Tensor]]
_KEPT: ContextVar[Outputs | None] = ContextVar("kept", default=None)


def forward_views(
    network: nn.Module,
    views: torch.Tensor,  # [V, B, ...] - crops of one size, or features
    *,
    per_view: bool,  # batch statistics of each view apart (BYOL, SimSiam) or of all (SwAV)
    parts: int = 1,  # of each view's images, with statistics of their own too (MoCo)
) -> torch.Tensor:
    """[V, B, D]: the network's output for every view, from one forward."""
    num_views, batch_size = views.shape[:2]
    # A network without batch norm (a ViT) has nothing to set: both ways are one.
    with chunked_statistics(network, num_views * parts if per_view else 1):
        output = network(views.flatten(0, 1)).unflatten(0, (num_views, batch_size))
    kept = _KEPT.get()
    if kept is not None:
        kept.append((network, output))
    return output


def forward_groups(
    network: nn.Module,
    groups: Iterable[torch.Tensor],  # per crop group [V, B, C, S, S]
    *,
    per_view: bool,
    parts: int = 1,
) -> torch.Tensor:
    """[V, B, D]: the network's output for the views of all groups, one forward per group."""
    outputs = [forward_views(network, g, per_view=per_view, parts=parts) for g in groups]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)  # which would copy even one


def project_groups(
    backbone: nn.Module,
    projector: nn.Module,
    groups: Iterable[torch.Tensor],  # per crop group [V, B, C, S, S]
    *,
    per_view: bool,  # in both networks
    parts: int = 1,  # likewise
) -> torch.Tensor:
    """[V, B, D]: the projector's output for the backbone's features of all groups."""
    features = forward_groups(backbone, groups, per_view=per_view, parts=parts)
    return forward_views(projector, features, per_view=per_view, parts=parts)


@contextmanager
def keep_outputs() -> Iterator[Outputs]:
    """For the duration: each network that `forward_views` runs, with its [V, B, D], in order."""
    kept: Outputs = []
    token = _KEPT.set(kept)
    try:
        yield kept
    finally:
        _KEPT.reset(token)
