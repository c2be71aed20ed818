"""The DALI graph that makes the views of one crop size: slice, resize, colours, blur, normalise.

`dali.py` feeds it one sample a view: an image and the view's row of the plan. DALI has the geometry
and the blur we mean; its colour operators mean something else (a fixed order, a YIQ rotation for
the hue, one clamp at the end), so the colours are spelled out in DALI arithmetic. Samples that do
not need a step skip it through DALI's conditionals, which copy nothing.

Pixels are float32 in [0, 255] here: one scaling less, and every formula but solarize's is the same.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import nvidia.dali.fn
import nvidia.dali.math
import nvidia.dali.types
import torch
from nvidia.dali.pipeline import Pipeline, pipeline_def
from nvidia.dali.types import DALIDataType

from augengine.backends.dali_resize import crop_and_resize
from augengine.plain.colour_ops import GRAY_WEIGHTS
from augengine.plan import BRIGHTNESS, CONTRAST, NO_SOLARIZE

# DALI fills its modules at run time, and its stubs know neither `if` on a node nor what comes out.
Node: TypeAlias = Any  # a nvidia.dali.data_node.DataNode
fn: Any = nvidia.dali.fn
types: Any = nvidia.dali.types
dm: Any = nvidia.dali.math

# At most three colour ops run before the hue and three after it; gray is one more, saturation 0.
SLOTS_BEFORE_HUE = ("before0", "before1", "before2")
SLOTS_AFTER_HUE = ("after0", "after1", "after2", "gray")
NO_OP = -1  # in a slot; else BRIGHTNESS, CONTRAST or SATURATION of plan.py
DALI_TYPES = {torch.float32: types.FLOAT, torch.float16: types.FLOAT16}
# A third of the circle between the channels' hues; half a turn puts the far side of each at 0.
_FAR_SIDE_OF_CHANNEL = (1 / 2, 1 / 6, -1 / 6)  # turns


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """Constants of a graph; everything else is fed to it."""

    size_px: int
    mean: tuple[float, float, float]  # in [0, 1] units, as in Plan
    std: tuple[float, float, float]
    dtype: torch.dtype  # float32 or float16
    is_gpu: bool


def build_graph(
    spec: GraphSpec, max_samples: int, num_threads: int, device_id: int | None
) -> Pipeline:
    """A pipeline for up to `max_samples` views a run; its inputs are those `dali.py` feeds."""
    return _views(
        spec,
        batch_size=max_samples,
        num_threads=num_threads,
        device_id=device_id,
        prefetch_queue_depth=1,  # so that run() answers for what it was fed
    )


@pipeline_def(enable_conditionals=True)
def _views(spec: GraphSpec) -> Node:
    # On the host DALI reads the caller's images where they lie; on the GPU it copies them in stream
    # order, since nothing could say when its kernels have finished reading.
    images = fn.external_source(
        name="images",
        device="gpu" if spec.is_gpu else "cpu",
        dtype=types.UINT8,
        ndim=3,
        layout="HWC",
        no_copy=not spec.is_gpu,
    )
    x = _clamp(crop_and_resize(images, spec.size_px))
    for slot in SLOTS_BEFORE_HUE:
        x = _slot(x, slot, spec)
    turns = _scalar("hue", types.FLOAT)
    if turns != 0.0:
        x = _adjust_hue(x, _beside(turns, spec))
    for slot in SLOTS_AFTER_HUE:
        x = _slot(x, slot, spec)
    sigma = _scalar("sigma", types.FLOAT)
    kernel_px = _scalar("kernel_px", types.INT32)
    if sigma > 0.0:
        x = fn.gaussian_blur(x, sigma=sigma, window_size=kernel_px)
    threshold = _scalar("solarize", types.FLOAT)
    if threshold < NO_SOLARIZE:
        x = _solarize(x, _beside(threshold * 255.0, spec))
    return fn.crop_mirror_normalize(
        x,
        # Mirroring commutes with everything after the resize, and here it costs nothing.
        mirror=_scalar("flip", types.INT32),
        mean=[255 * m for m in spec.mean],
        std=[255 * s for s in spec.std],
        dtype=DALI_TYPES[spec.dtype],
        output_layout="HWC",
    )


def _slot(x: Node, slot: str, spec: GraphSpec) -> Node:
    """One of the colour ops that are affine in the pixel, or none, by the number fed."""
    op = _scalar(f"{slot}_op", types.INT32)
    factor = _beside(_scalar(f"{slot}_factor", types.FLOAT), spec)
    if op != NO_OP:
        if op == BRIGHTNESS:
            x = x * factor
        elif op == CONTRAST:
            mean = fn.reductions.mean(x, axes=[0, 1], keep_dims=True)  # [1, 1, 3]
            x = x * factor + _gray(mean) * (1.0 - factor)
        else:
            x = x * factor + _gray(x) * (1.0 - factor)
        x = _clamp(x)
    return x


def _gray(x: Node) -> Node:
    """[..., 1] from [..., 3]."""
    return fn.coord_transform(x, M=list(GRAY_WEIGHTS))


def _adjust_hue(x: Node, turns: Node) -> Node:
    """Turn the hue in HSV, exactly, without sextants or masks.

    Value and chroma stay, so every channel is `high - chroma * w`, where the weight w in [0, 1]
    depends on the circular distance between the pixel's hue and the channel's far side. Pixels with
    green < blue are the mirror image of those with green > blue: their hue counts backwards.
    """
    red, green, blue = x[:, :, 0:1], x[:, :, 1:2], x[:, :, 2:3]
    upper, lower = dm.max(green, blue), dm.min(green, blue)
    high, low = dm.max(red, upper), dm.min(red, lower)
    chroma = high - low
    # In sextants from red: 0 where red is highest and the others equal, 3 where red is lowest.
    hue = 2.0 - (red - lower + dm.max(red - upper, 0.0)) / dm.max(chroma, 1e-12)
    hue = hue * (1.0 - 2.0 * (green < blue)) * (1 / 6)  # turns in [-0.5, 0.5]
    base, slope = high - 2.0 * chroma, 6.0 * chroma
    channels = []
    for far_side in _FAR_SIDE_OF_CHANNEL:
        turn = dm.abs(hue + (turns + far_side))  # at most 1.5
        distance = dm.min(turn, dm.abs(1.0 - turn))
        channels.append(dm.min(dm.max(base + slope * distance, low), high))
    return fn.cat(*channels, axis=2)


def _solarize(x: Node, threshold: Node) -> Node:
    return x + (x >= threshold) * (255.0 - 2.0 * x)


def _clamp(x: Node) -> Node:
    # Several times faster than dm.clamp on the host.
    return dm.min(dm.max(x, 0.0), 255.0)


def _scalar(name: str, dtype: DALIDataType) -> Node:
    """One number a sample, on the host: operator arguments and conditions live there."""
    return fn.external_source(name=name, dtype=dtype, ndim=0)


def _beside(number: Node, spec: GraphSpec) -> Node:
    """The number where the pixels are: arithmetic does not mix devices."""
    return number.gpu() if spec.is_gpu else number
