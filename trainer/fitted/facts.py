"""Facts for the fitted recipe: how many images of what size, on what machine.

Every rank looks by itself and sees the same, so that all fit the same recipe.
"""

import os

import numpy as np
import torch

from shards.index import ShardIndex
from shards.mixture.mixed_index import MixedIndex
from trainer.fitted.fit_rule import Facts
from trainer.setup.device import choose_device
from trainer.setup.threads import available_cores

_SAMPLE = 10_000  # images of each set, evenly spread, whose sizes give the median


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
    """As an epoch has them: an image of a set of weight 0.2 counts a fifth."""
    if not len(index):
        return 1
    parts, quotas = [index], [index.epoch_samples]
    if isinstance(index, MixedIndex):
        parts, quotas = list(index.parts), list(index.quotas)
    sides = [part.sizes(part.spread(_SAMPLE)).min(axis=1) for part in parts]
    weights = [
        np.full(len(own), quota / len(own)) for own, quota in zip(sides, quotas, strict=True)
    ]
    return int(_weighted_median(np.concatenate(sides), np.concatenate(weights)))


def _weighted_median(
    values: np.ndarray,  # [N]
    weights: np.ndarray,  # [N] float64, positive
) -> float:
    """The value with half of the weight on either side; between two such values their mean."""
    order = np.argsort(values)
    values, reached = values[order], np.cumsum(weights[order])
    # Sums of the same weights in another order differ in their last bits.
    half = reached[-1] / 2
    low = np.searchsorted(reached, half * (1 - 1e-9))
    high = np.searchsorted(reached, half * (1 + 1e-9))
    return float(values[low] + values[min(high, len(values) - 1)]) / 2


def _memory_bytes(device: torch.device) -> int:
    """Of the GPU, or of the machine; all of it, since what is free differs from rank to rank."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
