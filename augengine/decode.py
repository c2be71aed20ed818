"""Encoded images to pixels: what a decoder is, and the one place that makes one.

First stage after reading. A bad image costs itself and no other: its place in the answer holds a
`DecodeFailure`, and the pipeline decides what becomes of the sample (badsamples.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from augengine.backends.table import has_dali, require_dali
from shards.errors import UsageError

DECODERS = ("dali", "pillow")


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


def create_decoder(name: str, device: torch.device | str, num_threads: int = 1) -> Decoder:
    """A decoder by name, or `auto`: DALI where it is installed, Pillow elsewhere.

    Args:
        name: "auto", or one of DECODERS. On the CPU both give the same bytes; on the GPU DALI
            decodes with nvJPEG, whose pixels differ by a few levels.
        device: where the pixels are wanted. Pillow's are always on the CPU: see `.device`.
        num_threads: host threads; changes no pixel.

    Raises:
        UsageError: unknown name, a device that is not there, or DALI is not installed.
    """
    device = torch.device(device)
    if num_threads < 1:
        raise UsageError(f"a decoder needs at least one thread, got {num_threads}; pass 1 or more")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device} is not available; use cpu or install torch with CUDA")
    if name == "auto":
        name = "dali" if has_dali() else "pillow"
    if name == "dali":
        require_dali("decoder")
        from augengine.decode_dali import DaliDecoder

        return DaliDecoder(device, num_threads)
    if name == "pillow":
        from augengine.decode_pillow import PillowDecoder

        return PillowDecoder(num_threads)
    raise UsageError(f"decoder must be one of auto, {', '.join(DECODERS)}; got {name!r}")
