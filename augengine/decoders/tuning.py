"""The split of the GPU decoder's work, found by trying.

The best share of JPEGs for the hardware engine depends on the GPU, the CPU threads and the images:
DALI's default is 0.65, its own tests on Hopper use 0.12 with 70 threads (qa/TL1_decoder_perf). So
a run measures for a few seconds on images of its own set (trial.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shards.errors import UsageError

# DALI's defaults stand first: they win unless another is clearly faster.
LOADS = (0.65, 0.0, 0.1, 0.2, 0.35, 0.5, 0.8)
HYBRID_FROM_PX = (1_000_000, 100_000)
MARGIN = 1.03  # times as fast; less is noise


@dataclass(frozen=True, slots=True)
class WorkSplit:
    """The split of work when a GPU decodes; without meaning on a CPU.

    The engine and the CUDA kernels may round a pixel differently, so another split is another
    picture by up to a few levels.
    """

    hardware_load: float = LOADS[0]  # share of JPEGs for the hardware engine, where there is one
    # Of the others, those with more pixels are unpacked by the GPU too, smaller ones by the CPU.
    hybrid_from_px: int = HYBRID_FROM_PX[0]

    def __post_init__(self) -> None:
        if not 0 <= self.hardware_load <= 1:
            raise UsageError(
                f"the hardware decoder's load is a share in [0, 1], got {self.hardware_load}; use "
                "auto to have it measured"
            )

    def __str__(self) -> str:
        return (
            f"{self.hardware_load:.0%} of JPEGs by the hardware engine, others above "
            f"{self.hybrid_from_px:,} pixels unpacked on the GPU"
        )


def best_of(measure: Callable[[float], float], candidates: Sequence[float]) -> float:
    """The candidate with the highest figure; an earlier one stands unless beaten by MARGIN."""
    best, best_figure = candidates[0], measure(candidates[0])
    for candidate in candidates[1:]:
        figure = measure(candidate)
        if figure > MARGIN * best_figure:
            best, best_figure = candidate, figure
    return best


def best_split(images_per_s: Callable[[WorkSplit], float]) -> WorkSplit:
    """The fastest split: first the hardware's share, then who unpacks what is left to the rest."""
    start = WorkSplit()
    load = best_of(lambda load: images_per_s(replace(start, hardware_load=load)), LOADS)
    split = replace(start, hardware_load=load)
    pixels = best_of(
        lambda pixels: images_per_s(replace(split, hybrid_from_px=int(pixels))), HYBRID_FROM_PX
    )
    return replace(split, hybrid_from_px=int(pixels))
