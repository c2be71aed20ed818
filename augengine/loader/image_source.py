"""From sample ids to decoded images: read, decode, check, say which are bad, keep some of the good.

A bad sample is an answer here, not an error: the caller replaces it or leaves it out.
"""

from collections.abc import Sequence

import numpy as np
import torch

from augengine.caches.sample_cache import Cache, NoCache
from augengine.decoders.decoder import DecodeFailure, Decoder
from augengine.loader.bad_samples import too_large
from augengine.loader.meter import Meter
from augengine.views import BadSample
from shards.errors import DataError
from shards.index import ShardIndex, sizes_of
from shards.reader import SampleError, ShardReader


class ImageSource:
    """Reads and decodes samples of one index; as thread-safe as its reader and decoder."""

    def __init__(
        self,
        index: ShardIndex,
        reader: ShardReader,
        decoder: Decoder,
        meter: Meter,
        cache: Cache | None = None,  # of this index's samples
    ) -> None:
        self._index = index
        self._reader = reader
        self._decoder = decoder
        self._meter = meter
        self._cache = NoCache() if cache is None else cache

    def load(
        self,
        ids: np.ndarray,  # [B] int64
        records: np.ndarray | None = None,  # [B] of the index; None: they are looked up here
    ) -> list[torch.Tensor | BadSample]:
        """Per id, in order: its image [H, W, 3] uint8 on the decoder's device, or why it has none.

        An image from the cache lies on the cache's device and is not to be written to. An image
        whose index says it is too large is neither read nor decoded; one that decodes to another
        size than the index says is bad, since its plan was drawn for the index's size.
        """
        records = self._index.rows(ids) if records is None else records
        sizes = sizes_of(records)  # [B, 2]
        # Each row goes from None (may be read) to bytes to an image, or to the reason why not.
        found: list = [too_large(int(height), int(width)) for height, width in sizes]
        wanted = [row for row, item in enumerate(found) if item is None]
        for row, item in zip(wanted, self._cache.get(ids[wanted]), strict=True):
            found[row] = item
        fresh = [row for row in wanted if found[row] is None]
        for row, item in zip(fresh, self._read(ids[fresh], records[fresh]), strict=True):
            found[row] = item
        encoded = {row: item for row, item in enumerate(found) if isinstance(item, bytes)}
        for row, item in zip(encoded, self._decode(list(encoded.values())), strict=True):
            found[row] = item
        shards = records["shard"].tolist()
        images = [
            self._checked(int(id), shard, item, size)
            for id, shard, item, size in zip(ids, shards, found, sizes, strict=True)
        ]
        good = [row for row in fresh if isinstance(images[row], torch.Tensor)]
        self._cache.put(ids[good], [encoded[row] for row in good], [found[row] for row in good])
        return images

    def _read(self, ids: np.ndarray, records: np.ndarray) -> list[bytes | SampleError]:
        if not len(ids):
            return []
        with self._meter.measure("read", len(ids)):
            return self._reader.read(ids, records)

    def _decode(self, encoded: Sequence[bytes]) -> list[torch.Tensor | DecodeFailure]:
        if not encoded:
            return []
        with self._meter.measure("decode", len(encoded)):
            return self._decoder(encoded)

    def _checked(
        self,
        id: int,
        shard_number: int,
        item: torch.Tensor | SampleError | DecodeFailure | str,
        size: np.ndarray,
    ) -> torch.Tensor | BadSample:
        if isinstance(item, torch.Tensor):
            if item.dtype == torch.uint8 and item.shape == (*size.tolist(), 3):
                return item
            item = (
                f"an image has the size its index says, {size[0]}x{size[1]}x3 uint8, but decodes "
                f"to {'x'.join(map(str, item.shape))} {str(item.dtype).removeprefix('torch.')}; "
                "rebuild the index"
            )
        shard = self._index.shard_name(shard_number)
        if isinstance(item, SampleError):
            return BadSample(id, item.key, shard, item.reason.removesuffix(f" ({shard})"))
        return BadSample(id, self._key(id), shard, item if isinstance(item, str) else item.reason)

    def _key(self, id: int) -> str:
        try:
            return self._index.key(id)
        except (DataError, OSError):  # the tar's header is torn too
            return "an unreadable key"
