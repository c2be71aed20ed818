"""Facts for the fitted recipe: how many images of what size, on what machine.

Every rank looks by itself and sees the same, so that all fit the same recipe.
"""

import os

import numpy as np
import torch

from shards.index import ShardIndex
from trainer.fitted.fit_rule import Facts
from trainer.setup.device import choose_device
from trainer.setup.threads import available_cores

_SAMPLE = 10_000  # images, evenly spread, whose sizes give the median


def look_at(index: ShardIndex, device_name: str) -> Facts:
    """The facts of a set on this machine; UsageError for a set too small to train on."""
    local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    device = choose_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
    return Facts(
        images=index.epoch_samples,
        median_px=_median_px(index),
        device=device.type,
        memory_bytes=_memory_bytes(device) // (local_ranks if device.type == "cpu" else 1),
        cores=max(1, available_cores() // local_ranks),
        ranks=int(os.environ.get("WORLD_SIZE", "1")),
    )


def _median_px(index: ShardIndex) -> int:
    if not len(index):
        return 1
    return int(np.median(index.sizes(index.spread(_SAMPLE)).min(axis=1)))


def _memory_bytes(device: torch.device) -> int:
    """Of the GPU, or of the machine; all of it, since what is free differs from rank to rank."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
