"""The `dali` decoder: libjpeg-turbo on the CPU, nvJPEG on the GPU, a whole batch at a time.

DALI fails as a batch: one corrupt image fails it, without saying which, and the pipeline is no
longer valid. So a failed batch is halved until the bad image is alone; the good halves decode as
usual, and Pillow has the last word on the one left over: it names the reason, or decodes it after
all. When that image comes up again it goes to Pillow at once: a failure costs several runs and new
pipelines, and some 10 KiB that DALI never gives back. Images that DALI would read differently never
reach it (sniff.py).
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import nvidia.dali.fn
import nvidia.dali.types
import torch
from nvidia.dali.pipeline import Pipeline, pipeline_def

from augengine.decoders.decoder import DecodeFailure
from augengine.decoders.pillow_decoder import PillowDecoder, decode_one
from augengine.decoders.sniff import is_plain
from augengine.decoders.tuning import WorkSplit, tiny_jpeg

# DALI fills its modules at run time, and its stubs allow for every kind of result.
fn: Any = nvidia.dali.fn
types: Any = nvidia.dali.types


class DaliDecoder:
    """Decodes plain JPEG and PNG with DALI and the rest with Pillow; callers take turns."""

    name = "dali"

    def __init__(
        self, device: torch.device, num_threads: int, split: WorkSplit | None = None
    ) -> None:
        self.device = device
        self.split = split or WorkSplit()
        self._num_threads = num_threads
        self._pillow = PillowDecoder(num_threads)
        self._pipeline: Pipeline | None = None
        self._max_images = 0  # of the pipeline
        self._refused: dict[int, set[int]] = {}  # images DALI failed on: hashes by size in bytes
        self._lock = threading.Lock()

    def __call__(self, encoded: Sequence[bytes]) -> list[torch.Tensor | DecodeFailure]:
        """Per image, in order, [H, W, 3] uint8 on the device, or why there is none."""
        plain = [is_plain(data) and not self._was_refused(data) for data in encoded]
        odd = [data for data, is_dali in zip(encoded, plain, strict=True) if not is_dali]
        even = [data for data, is_dali in zip(encoded, plain, strict=True) if is_dali]
        from_pillow = iter([self._move(image) for image in self._pillow(odd)])
        with self._lock:
            from_dali = iter(self._decode(even) if even else [])
        return [next(from_dali if is_dali else from_pillow) for is_dali in plain]

    def _decode(self, encoded: list[bytes]) -> list[torch.Tensor | DecodeFailure]:
        try:
            return self._run(encoded)
        except RuntimeError:
            self._pipeline = None
        if len(encoded) == 1:
            self._refused.setdefault(len(encoded[0]), set()).add(hash(encoded[0]))
            return [self._move(decode_one(encoded[0]))]
        half = len(encoded) // 2
        return self._decode(encoded[:half]) + self._decode(encoded[half:])

    def _was_refused(self, encoded: bytes) -> bool:
        # By size first: a hash reads every byte, which is too dear for images that are good.
        return hash(encoded) in self._refused.get(len(encoded), ())

    def _run(self, encoded: list[bytes]) -> list[torch.Tensor | DecodeFailure]:
        if self._pipeline is None or len(encoded) > self._max_images:
            self._max_images = max(self._max_images, len(encoded))
            self._pipeline = self._build()
        stream = torch.cuda.current_stream(self.device) if self.device.type == "cuda" else None
        arrays = [np.frombuffer(data, np.uint8) for data in encoded]
        (images,) = self._pipeline.run(stream, encoded=arrays)
        # No copy: DALI's buffers live as long as the tensors.
        return [torch.from_dlpack(images[i]) for i in range(len(encoded))]

    def _build(self) -> Pipeline:
        is_gpu = self.device.type == "cuda"
        pipeline = _decoder(
            on_gpu(self.split) if is_gpu else {"device": "cpu"},
            batch_size=self._max_images,
            num_threads=self._num_threads,
            device_id=(self.device.index or 0) if is_gpu else None,
            prefetch_queue_depth=1,  # so that run() answers for what it was fed
        )
        if is_gpu and self.split.hardware_load:
            # How many images the engine may have is settled by a pipeline's first batch, which may
            # be half of one that failed: then all that is beyond it would be decoded otherwise.
            stream = torch.cuda.current_stream(self.device)
            pipeline.run(stream, encoded=[np.frombuffer(tiny_jpeg(), np.uint8)] * self._max_images)
        return pipeline

    def _move(self, image: torch.Tensor | DecodeFailure) -> torch.Tensor | DecodeFailure:
        return image if isinstance(image, DecodeFailure) else image.to(self.device)


def on_gpu(split: WorkSplit) -> dict[str, Any]:
    """Settings of DALI's decoder that read on the host and decode on the GPU."""
    # Paddings and hints of sizes stay DALI's own: they spare allocations only when an image larger
    # than all before comes, and what a hint reserves grows with the batch.
    return {"device": "mixed", "hw_decoder_load": split.hardware_load}


@pipeline_def
def _decoder(settings: dict[str, Any]) -> Any:
    encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1, no_copy=True)
    # Fancy upsampling is libjpeg-turbo's way with chroma; nvJPEG's own differs more.
    return fn.decoders.image(encoded, output_type=types.RGB, jpeg_fancy_upsampling=True, **settings)
