"""Shuffled batch norm: a key is normalised among other images than its query.

MoCo's batch norms see a part of the batch each, as published one GPU's share. A query and its key
normalised among the same images would share those statistics, and the network would find the pair
by them. So keys pass in another order, over all ranks, and are put back afterwards. Statistics of
all ranks (SyncBN) are no substitute: the queue's keys come from other batches, so that the shared
statistics of this one give the pair away (He, github.com/facebookresearch/moco, issue 46).
He et al. 2020, 1911.05722, section 3.3; moco/builder.py `_batch_shuffle_ddp`.

Legend: W ranks, B images of each, K views of keys.
"""

from collections.abc import Sequence

import torch
from torch import nn

from augengine.devices.streams import upload
from shards.terminal.counted import counted
from trainer.checks import require
from trainer.distributed import gather_rows, rank, world_size
from trainer.nets.multicrop import forward_views


def random_order(num_rows: int, step: int) -> torch.Tensor:
    """[W * num_rows] int64: a permutation of the rows of all ranks, alike on them, new each step.

    A function of the step alone, so that ranks need not talk and a continued run repeats it.
    """
    generator = torch.Generator().manual_seed(step)
    return torch.randperm(world_size() * num_rows, generator=generator)


@torch.no_grad()
def reorder(
    rows: torch.Tensor,  # [B, ...] - the same shape on every rank
    order: torch.Tensor,  # [W * B] int64
) -> torch.Tensor:
    """[B, ...]: this rank's share of the rows of all ranks in that order.

    `reorder(reorder(rows, order), order.argsort())` are the rows again.
    """
    num_rows = len(rows)
    mine = order[rank() * num_rows :][:num_rows]
    return gather_rows(rows)[upload(mine, rows.device)]


@torch.no_grad()
def forward_keys(
    networks: Sequence[nn.Module],  # one after the other
    crops: torch.Tensor,  # [K, B, C, S, S]
    *,
    parts: int,  # of this rank's images, with batch statistics of their own
    step: int | None,  # whose order the images pass in; None: their own
) -> torch.Tensor:
    """[K, B, D]: keys in the order of their images, of batch statistics that no query has."""
    order = None if step is None else random_order(crops.shape[1], step)
    if order is not None:
        crops = reorder(crops.transpose(0, 1), order).transpose(0, 1)
    keys = crops
    for network in networks:
        keys = forward_views(network, keys, per_view=True, parts=parts)
    if order is not None:
        keys = reorder(keys.transpose(0, 1), order.argsort()).transpose(0, 1)
    return keys


def check_shuffle(method: str, num_groups: int, *, shuffle: bool) -> None:
    """Raise UsageError for one group that is shuffled: that changes no statistics of it."""
    rule = f"{method} groups is at least 2 when keys are shuffled"
    require(num_groups >= 2 or not shuffle, rule, num_groups, "or method.shuffle=false")


def check_groups(method: str, num_groups: int, num_images: int) -> None:
    """Raise UsageError unless ranks share the groups evenly, and groups the images.

    Each group has two images or more, for batch norm.
    """
    world = world_size()
    fits = num_groups % world == 0 and num_images % num_groups == 0
    rule = (
        f"{method} groups divides the {counted(num_images, 'image')} of a forward into parts of 2 "
        f"or more, and is a multiple of the {counted(world, 'rank')}"
    )
    remedy = "change method.groups, loop.accumulate or --batch-size"
    require(fits and num_images >= 2 * num_groups, rule, num_groups, remedy)
