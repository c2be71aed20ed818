"""The `nvimgcodec` decoder: NVIDIA's nvImageCodec by itself, on the CPU and on a GPU.

It is what DALI decodes with, and comes with DALI. Asked directly it gives nothing in the place of a
bad image and the rest of the batch decoded: a bad image costs itself. Pillow has the last word on
it, and on all that is not plain (sniff.py). Its images are handed to torch by their address and
stay alive as long as torch's tensors, without DLPack, whose release DALI leaves to a thread that
waits for the whole GPU.

On the CPU every thread has a codec of its own. On a GPU there is one, and callers take turns; the
hardware engine takes all JPEGs that it can, or none. nvImageCodec settles how many images an engine
may have by the first batch that it is given (image_generic_codec.h, adjustBatchSizes, 0.8), and
what is beyond them goes to the CUDA kernels, whose pixels differ by a few levels. So no batch here
has more images than the first, and pixels depend on the image alone.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
import torch

from augengine.decoders.decoder import DecodeFailure
from augengine.decoders.pillow_decoder import PillowDecoder
from augengine.decoders.sniff import is_plain
from augengine.decoders.tuning import WorkSplit, tiny_jpeg
from shards.errors import UsageError


def _load() -> Any:
    # It writes of every bad image to the terminal, unless told before it is loaded.
    os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", "0")
    return import_module("nvidia.nvimgcodec")


nvimgcodec = _load()
MOST_AT_ONCE = {"cpu": 32, "cuda": 256}  # images that a codec is given; on a CPU the threads' share
# libjpeg-turbo's way with chroma; nvJPEG's own differs more.
_OPTIONS = ":fancy_upsampling=1"
_RGB = nvimgcodec.DecodeParams(apply_exif_orientation=True, color_spec=nvimgcodec.ColorSpec.SRGB)


class NvimgcodecDecoder:
    """Decodes plain JPEG and PNG with nvImageCodec and the rest with Pillow."""

    name = "nvimgcodec"

    def __init__(
        self, device: torch.device, num_threads: int, split: WorkSplit | None = None
    ) -> None:
        self.device = device
        self.split = split or WorkSplit()
        if not self.split.is_whole:
            raise UsageError(
                "decoder 'nvimgcodec' gives the hardware engine all JPEGs or none, got a load of "
                f"{self.split.hardware_load:g}; use data.decoder_load=0, 1 or auto"
            )
        self._num_threads = num_threads
        self._pillow = PillowDecoder(num_threads)
        self._pool = ThreadPoolExecutor(num_threads, "nvimgcodec")
        self._here = threading.local()  # .codec: of a thread of the pool
        self._lock = threading.Lock()  # of the GPU's only codec
        self._codec = None if device.type == "cpu" else self._codec_on_gpu()

    def __call__(self, encoded: Sequence[bytes]) -> list[torch.Tensor | DecodeFailure]:
        """Per image, in order, [H, W, 3] uint8 on the device, or why there is none."""
        plain = [row for row, data in enumerate(encoded) if is_plain(data)]
        pieces = self._pieces(plain)
        found: dict[int, torch.Tensor | DecodeFailure] = {}
        for rows, images in zip(pieces, self._decode(encoded, pieces), strict=True):
            found |= {r: i for r, i in zip(rows, images, strict=True) if i is not None}
        rest = [row for row in range(len(encoded)) if row not in found]
        for row, image in zip(rest, self._pillow([encoded[row] for row in rest]), strict=True):
            found[row] = image if isinstance(image, DecodeFailure) else image.to(self.device)
        return [found[row] for row in range(len(encoded))]

    def _pieces(self, rows: list[int]) -> list[list[int]]:
        size = MOST_AT_ONCE[self.device.type]
        if self.device.type == "cpu":
            size = max(1, min(size, -(-len(rows) // self._num_threads)))
        return [rows[first : first + size] for first in range(0, len(rows), size)]

    def _decode(
        self, encoded: Sequence[bytes], pieces: list[list[int]]
    ) -> list[list[torch.Tensor | None]]:
        parts = [[encoded[row] for row in rows] for rows in pieces]
        if self._codec is None:
            return list(self._pool.map(self._decode_on_cpu, parts))
        stream = torch.cuda.current_stream(self.device).cuda_stream
        # The default stream has no number of its own: it is the one of the thread's device.
        with self._lock, torch.cuda.device(self.device):
            found = [self._codec.decode(part, params=_RGB, cuda_stream=stream) for part in parts]
        return [[self._on_gpu(image) for image in images] for images in found]

    def _decode_on_cpu(self, part: list[bytes]) -> list[torch.Tensor | None]:
        if not hasattr(self._here, "codec"):
            self._here.codec = codec_on_cpu()
        images = self._here.codec.decode(part, params=_RGB)
        # No copy: torch keeps the array, and the array its image.
        return [i if i is None else torch.from_numpy(np.asarray(i)) for i in images]

    def _on_gpu(self, image: Any) -> torch.Tensor | None:
        # By __cuda_array_interface__, without a copy; the buffer returns to the order of the stream
        # that it was decoded on once the tensor is gone.
        return image if image is None else torch.as_tensor(image, device=self.device)

    def _codec_on_gpu(self) -> Any:
        kinds = nvimgcodec.BackendKind
        rest = (kinds.GPU_ONLY, kinds.HYBRID_CPU_GPU, kinds.CPU_ONLY)
        backends = [nvimgcodec.Backend(kind) for kind in rest]
        if self.split.hardware_load:
            # All that it can, whatever a batch has.
            fixed = nvimgcodec.LoadHintPolicy.FIXED
            backends.insert(0, nvimgcodec.Backend(kinds.HW_GPU_ONLY, 1.0, fixed))
        codec = nvimgcodec.Decoder(
            device_id=self.device.index or 0,
            max_num_cpu_threads=self._num_threads,
            backends=backends,
            options=_OPTIONS,
        )
        if self.split.hardware_load:
            codec.decode([tiny_jpeg()] * MOST_AT_ONCE["cuda"], params=_RGB)
        return codec


def codec_on_cpu() -> Any:
    """A codec that decodes on the thread that asks it."""
    return nvimgcodec.Decoder(
        device_id=nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY,
        max_num_cpu_threads=1,
        backends=[nvimgcodec.Backend(nvimgcodec.BackendKind.CPU_ONLY)],
        options=_OPTIONS,
    )
