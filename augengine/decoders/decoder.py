"""The interface of a decoder: encoded images in, pixels out, a failure in place of a bad one.

First stage after reading. A bad image costs itself and no other; the pipeline decides what becomes
of the sample (bad_samples.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True, slots=True)
class DecodeFailure:
    """In the place of an image that cannot be decoded."""

    reason: str


class Decoder(Protocol):
    """Turns encoded images into upright RGB pixels; may be called from several threads."""

    name: str
    device: torch.device  # where the pixels arrive

    def __call__(self, encoded: Sequence[bytes]) -> list[torch.Tensor | DecodeFailure]:
        """Per image, in order, [H, W, 3] uint8 on `device`, or why there is none.

        EXIF orientation is applied. Other modes become 8-bit RGB as packing does it: transparency
        over white, 16 bits scaled, the rest by Pillow's conversion.
        """
        ...
