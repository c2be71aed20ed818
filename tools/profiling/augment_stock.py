"""A few batches in memory for the stages that are timed alone, and their bytes for the peers."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from augengine.decoders.decoder import Decoder
from augengine.loader.image_source import ImageSource
from augengine.loader.meter import Meter
from shards.errors import DataError
from shards.index import ShardIndex
from shards.reader import ShardReader


@dataclass(frozen=True, slots=True)
class Stock:
    """Some batches of good samples: ids, bytes and images."""

    batch_size: int
    ids: np.ndarray  # [N] int64
    sizes: np.ndarray  # [N, 2] int32
    encoded: list[bytes]
    images: list[torch.Tensor]

    @staticmethod
    def load(
        index: ShardIndex, decoder: Decoder, batch_size: int, num_batches: int, seed: int
    ) -> "Stock":
        """The first samples of the order; DataError when no image can be decoded."""
        num_samples = num_batches * batch_size
        ids = index.order(seed)(np.arange(num_samples))[1]
        with ShardReader(index) as reader:
            images = ImageSource(index, reader, decoder, Meter()).load(ids)
            encoded = reader.read(ids)
        good = [row for row in range(num_samples) if isinstance(images[row], torch.Tensor)]
        if not good:
            raise DataError(f"at least one image can be decoded, got only bad ones: {images[0]}")
        rows = list(itertools.islice(itertools.cycle(good), num_samples))
        return Stock(
            batch_size,
            ids[rows],
            index.sizes(ids[rows]),
            [item for row in rows if isinstance(item := encoded[row], bytes)],
            [image for row in rows if isinstance(image := images[row], torch.Tensor)],
        )

    def batches(self) -> Iterator[slice]:
        """Rows of batch 0, 1, ..., the last, 0, ... without end."""
        starts = range(0, len(self.ids), self.batch_size)
        return itertools.cycle([slice(start, start + self.batch_size) for start in starts])

    def write(self, folder: Path) -> Path:
        """Leave the encoded images in a new folder, a file each, as a folder data set has them."""
        folder.mkdir()
        for row, data in enumerate(self.encoded):
            (folder / f"{row:06d}").write_bytes(data)
        return folder
