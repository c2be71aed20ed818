"""The one place that makes a decoder, by name.

One's own is a class by `package.module:Class` or an entry point (shards/plugins/find.py), made with
those of device and num_threads that it names.
"""

import torch

from augengine.decoders.decoder import Decoder
from augengine.decoders.tuning import WorkSplit
from augengine.devices.installed import has_dali, require_dali, require_nvimgcodec
from augengine.devices.streams import numbered
from shards.errors import UsageError
from shards.plugins.find import find
from shards.plugins.making import find_class, make, require_attributes

DECODERS = {
    "dali": "augengine.decoders.create_decoder:make_dali",
    "nvimgcodec": "augengine.decoders.create_decoder:make_nvimgcodec",
    "pillow": "augengine.decoders.create_decoder:make_pillow",
}
AUTO = ("auto",)


def create_decoder(
    name: str,
    device: torch.device | str,
    num_threads: int = 1,
    split: WorkSplit | None = None,
) -> Decoder:
    """A decoder by name, or `auto`: DALI where it is installed, Pillow elsewhere.

    Args:
        name: "auto", one of DECODERS, or one's own. On the CPU all of ours give the same bytes; on
            the GPU the first two decode with nvJPEG, whose pixels differ by a few levels.
        device: where the pixels are wanted. Pillow's are always on the CPU: see `.device`.
        num_threads: host threads; changes no pixel.
        split: who decodes JPEGs on a GPU, see trial.py; None: its CUDA kernels.

    Raises:
        UsageError: unknown name, a device that is not there, or a library that is not installed.
    """
    device = torch.device(device)
    if num_threads < 1:
        raise UsageError(f"a decoder needs at least one thread, got {num_threads}; pass 1 or more")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device} is not available; use cpu or install torch with CUDA")
    device = numbered(device)
    if name == "auto":
        name = "dali" if has_dali() else "pillow"
    if name in DECODERS:
        return find("decoders", name, DECODERS)(device, num_threads, split)
    cls = find_class("decoders", name, DECODERS, also=AUTO, has=("__call__",))
    decoder = make("decoders", name, cls, {"device": device, "num_threads": num_threads})
    require_attributes("decoders", name, decoder, {"name": str, "device": torch.device})
    return decoder


def make_dali(device: torch.device, num_threads: int, split: WorkSplit | None) -> Decoder:
    """NVIDIA's, with nvJPEG on a GPU."""
    require_dali("decoder")
    from augengine.decoders.dali_decoder import DaliDecoder

    return DaliDecoder(device, num_threads, split)


def make_nvimgcodec(device: torch.device, num_threads: int, split: WorkSplit | None) -> Decoder:
    """NVIDIA's codecs without DALI's pipelines."""
    require_nvimgcodec()
    from augengine.decoders.nvimgcodec_decoder import NvimgcodecDecoder

    return NvimgcodecDecoder(device, num_threads, split)


def make_pillow(device: torch.device, num_threads: int, split: WorkSplit | None) -> Decoder:
    """On the CPU, whatever the device."""
    from augengine.decoders.pillow_decoder import PillowDecoder

    return PillowDecoder(num_threads)
