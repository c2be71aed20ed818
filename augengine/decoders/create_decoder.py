"""The one place that makes a decoder, by name."""

import torch

from augengine.decoders.decoder import Decoder
from augengine.decoders.tuning import WorkSplit
from augengine.devices.installed import has_dali, require_dali
from augengine.devices.streams import numbered
from shards.errors import UsageError

DECODERS = ("dali", "pillow")


def create_decoder(
    name: str,
    device: torch.device | str,
    num_threads: int = 1,
    split: WorkSplit | None = None,
) -> Decoder:
    """A decoder by name, or `auto`: DALI where it is installed, Pillow elsewhere.

    Args:
        name: "auto", or one of DECODERS. On the CPU both give the same bytes; on the GPU DALI
            decodes with nvJPEG, whose pixels differ by a few levels.
        device: where the pixels are wanted. Pillow's are always on the CPU: see `.device`.
        num_threads: host threads; changes no pixel.
        split: how a GPU divides the work, see trial.py; None: DALI's defaults.

    Raises:
        UsageError: unknown name, a device that is not there, or DALI is not installed.
    """
    device = torch.device(device)
    if num_threads < 1:
        raise UsageError(f"a decoder needs at least one thread, got {num_threads}; pass 1 or more")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device} is not available; use cpu or install torch with CUDA")
    device = numbered(device)
    if name == "auto":
        name = "dali" if has_dali() else "pillow"
    if name == "dali":
        require_dali("decoder")
        from augengine.decoders.dali_decoder import DaliDecoder

        return DaliDecoder(device, num_threads, split)
    if name == "pillow":
        from augengine.decoders.pillow_decoder import PillowDecoder

        return PillowDecoder(num_threads)
    raise UsageError(f"decoder must be one of auto, {', '.join(DECODERS)}; got {name!r}")
