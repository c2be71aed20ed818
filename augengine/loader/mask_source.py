"""The masks of a batch's images: read, decoded, held to their image's size.

A sample whose mask is broken is bad, as one whose image is; one without a mask is not.
"""

import numpy as np
import torch

from augengine.loader.meter import Meter
from augengine.policy import Policy
from augengine.views import BadSample
from shards.errors import UsageError
from shards.index import ShardIndex, sizes_of
from shards.reader import SampleError, ShardReader
from shards.samples.image_header import ImageError
from shards.samples.masks import read_mask
from shards.terminal.counted import agreed, counted


class MaskSource:
    """Reads masks of one index; thread-safe. Nothing is cached: they are read anew each time."""

    def __init__(self, index: ShardIndex, reader: ShardReader, meter: Meter) -> None:
        self._index = index
        self._reader = reader
        self._meter = meter

    def load(
        self,
        ids: np.ndarray,  # [B] int64
        records: np.ndarray,  # [B] of the index
        images: list[torch.Tensor | BadSample],  # [B]; bad ones are put where a mask is broken
    ) -> list[torch.Tensor | None]:
        """Per image its mask [H, W] uint8 on the host, 255 where the foreground is, or None."""
        masks: list[torch.Tensor | None] = [None] * len(ids)
        good = [row for row, image in enumerate(images) if isinstance(image, torch.Tensor)]
        with self._meter.measure("read", len(good)):
            found = self._reader.read_masks(ids[good], records[good])
        sizes = sizes_of(records)
        with self._meter.measure("decode", len(good)):
            for row, item in zip(good, found, strict=True):
                if item is None:
                    continue
                shard = self._index.shard_name(int(records[row]["shard"]))
                if isinstance(item, SampleError):
                    reason = item.reason.removesuffix(f" ({shard})")
                    images[row] = BadSample(item.id, item.key, shard, reason)
                    continue
                try:
                    masks[row] = torch.from_numpy(read_mask(item, *sizes[row].tolist()))
                except ImageError as error:
                    id = int(ids[row])
                    reason = f"its mask: {error}"
                    images[row] = BadSample(id, self._index.key(id), shard, reason)
        return masks


def check_masks(index: ShardIndex, policy: Policy) -> str:
    """A sentence on the images without a mask, empty where none is or no mask is needed.

    Raises:
        UsageError: the policy changes backgrounds, and no image has a mask.
    """
    if not policy.has_background:
        return ""
    without = int(np.count_nonzero(index.column("reserved") == 0))
    if without == len(index):
        raise UsageError(
            f"policy.background needs images with masks, got none in {index.directory}; pack them "
            "with python -m tools.make_shards SOURCE OUT --masks DIR, or set policy.background=null"
        )
    if not without:
        return ""
    return (
        f"{without:,} of {counted(len(index), 'image')} {agreed(without, 'has', 'have')} no mask: "
        "policy.background leaves their backgrounds, and none is taken from them"
    )
