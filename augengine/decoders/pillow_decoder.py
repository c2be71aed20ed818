"""The `pillow` decoder: any format, any mode, on every platform.

The `dali` decoder asks it about images that DALI would read differently, or not at all.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from augengine.decoders.decoder import DecodeFailure
from shards.packing.transcode import decode_rgb
from shards.samples.image_header import ImageError


class PillowDecoder:
    """Decodes on the host, an image a thread; Pillow releases Python's lock while it decodes."""

    name = "pillow"
    device = torch.device("cpu")

    def __init__(self, num_threads: int) -> None:
        self._pool = ThreadPoolExecutor(num_threads, "pillow")

    def __call__(self, encoded: Sequence[bytes]) -> list[torch.Tensor | DecodeFailure]:
        """Per image, in order, [H, W, 3] uint8 or why there is none."""
        return list(self._pool.map(decode_one, encoded))


def decode_one(encoded: bytes) -> torch.Tensor | DecodeFailure:
    """One image, [H, W, 3] uint8, upright RGB."""
    try:
        return torch.from_numpy(np.array(decode_rgb(encoded)))
    except ImageError as error:
        return DecodeFailure(str(error))
