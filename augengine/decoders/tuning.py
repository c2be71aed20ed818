"""The hardware engine's share of a GPU's JPEGs: all or none.

The engine and the CUDA kernels round some pixels differently. With a share between, as DALI's 0.65,
the first images of a batch go to the engine: then pixels depend on the batch, and so on ranks,
caches and where a run goes on. With all or none they depend on the image alone. Which of the two is
measured on images of the set, once (trial.py).
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from shards.errors import UsageError

ALL, NONE = 1.0, 0.0
# The engine leaves the multiprocessors and the host's cores to training: with a share of 0.9 in
# place of 0.65 DALI decoded a batch in 17.7 ms, not 15.6, and training was 1.8 % faster
# (NVIDIA/DALI, pull request 6366). So it is taken where it reaches this share of the kernels' rate,
# a choice of ours that is not measured.
KEEPS_UP = 0.8


@dataclass(frozen=True, slots=True)
class WorkSplit:
    """Who decodes JPEGs when a GPU decodes; without meaning on a CPU."""

    hardware_load: float = NONE  # share of JPEGs for the hardware engine, where there is one

    def __post_init__(self) -> None:
        if not 0 <= self.hardware_load <= 1:
            raise UsageError(
                f"the hardware decoder's load is a share in [0, 1], got {self.hardware_load}; use "
                "auto to have it measured"
            )

    @property
    def is_whole(self) -> bool:
        """Whether pixels depend on the image alone."""
        return self.hardware_load in (ALL, NONE)

    def __str__(self) -> str:
        if self.hardware_load == NONE:
            return "JPEGs by CUDA kernels"
        if self.hardware_load == ALL:
            return "JPEGs by the GPU's hardware engine"
        return (
            f"{self.hardware_load:.0%} of JPEGs by the GPU's hardware engine, the others by CUDA "
            "kernels, so that pixels depend on the batch"
        )


def tiny_jpeg() -> bytes:
    """A JPEG that a decoder's engine takes, for a first batch that settles how many it may have."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    return buffer.getvalue()


def best_split(images_per_s: Callable[[WorkSplit], float]) -> WorkSplit:
    """The engine where it keeps up, else the CUDA kernels."""
    engine, kernels = WorkSplit(ALL), WorkSplit(NONE)
    return engine if images_per_s(engine) >= KEEPS_UP * images_per_s(kernels) else kernels
