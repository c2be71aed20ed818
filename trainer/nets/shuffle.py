"""Shuffled batch norm: a key is normalised among other images than its query.

MoCo's batch norms see a part of the batch each, as published one GPU's share. A query and its key
normalised among the same images would share those statistics, and the network would find the pair
by them. So keys pass in another order, over all ranks, and are put back afterwards. Statistics of
all ranks (SyncBN) are no substitute: the queue's keys come from other batches, so that the shared
statistics of this one give the pair away (He, github.com/facebookresearch/moco, issue 46).
He et al. 2020, 1911.05722, section 3.3; moco/builder.py `_batch_shuffle_ddp`.

Legend: W ranks, B images of each.
"""

import torch

from augengine.devices.streams import upload
from trainer.distributed import gather_rows, rank, world_size


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
