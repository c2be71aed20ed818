"""The fewest bytes a GPU can move for the views of one image: what its memory alone would allow.

Terms, an image:

    pixels       3 bytes for each pixel that lies in some view's window, read once
    plan         the numbers of each view, read once
    views        3 * S * S * bytes of the views' dtype, for each view, written once
    round trips  2 * 3 * S * S * 4 bytes for each view that must be whole before it can go on: its
                 contrast needs the mean, its blur the neighbours; 224 x 224 x 3 float32 do not fit
                 into one multiprocessor. Written by one launch, read by the next.

The first three are compulsory. Windows and colour are random, so pixels and round trips are means
over drawn plans.
"""

from dataclasses import dataclass

import numpy as np

from augengine.draw import draw_plan
from augengine.plan import Plan
from augengine.policy import Policy

NUM_PLANS = 512
HELD_BYTES = 4  # float32, as the reference computes
CHANNELS = 3
# NVIDIA's data sheets, HBM, bytes a second.
MEMORY_BYTES_PER_S = {"H200": 4.8e12, "H100 SXM": 3.35e12}
PER_VIEW = ("window", "flip", "brightness", "contrast", "saturation", "hue", "order", "gray")
PER_VIEW += ("sigma", "solarize")


@dataclass(frozen=True, slots=True)
class ByteCount:
    """Bytes an image, by term."""

    pixels: float
    plan: float
    views: float
    round_trips: float

    @property
    def compulsory(self) -> float:
        """The bytes that no implementation can avoid."""
        return self.pixels + self.plan + self.views

    @property
    def total(self) -> float:
        """With one trip to memory and back for the views that must be whole in between."""
        return self.compulsory + self.round_trips

    def images_per_s(self, bytes_per_s: float) -> float:
        """The bound: images a second when memory does nothing else."""
        return bytes_per_s / self.total


def count_bytes(policy: Policy, height: int, width: int, view_bytes: int = 2) -> ByteCount:
    """The terms for images of one size; `view_bytes`: 2 for bfloat16 and float16, 4 for float32."""
    sizes = np.tile(np.array([[height, width]], np.int32), (NUM_PLANS, 1))
    plan = draw_plan(policy, np.arange(NUM_PLANS), np.zeros(NUM_PLANS), sizes, seed=0)
    values = CHANNELS * plan.size_px.astype(np.int64) ** 2  # [V] - numbers of a finished view
    held = (plan.contrast != 1) | (plan.sigma > 0)  # [B, V]
    return ByteCount(
        pixels=CHANNELS * np.mean([_num_covered(plan, b) for b in range(NUM_PLANS)]).item(),
        plan=sum(getattr(plan, name).nbytes for name in PER_VIEW) / NUM_PLANS,
        views=float(values.sum() * view_bytes),
        round_trips=2 * HELD_BYTES * float((held * values).sum(axis=1).mean()),
    )


def _num_covered(plan: Plan, b: int) -> int:
    """Pixels of image `b` that lie in at least one window."""
    covered = np.zeros(plan.image_sizes[b], bool)
    for top, left, height, width in plan.window[b].tolist():
        covered[top : top + height, left : left + width] = True
    return int(covered.sum())
