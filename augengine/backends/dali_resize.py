"""Crop and antialiased resize in DALI, with the border we mean: outside the crop there is nothing.

Part of the graph of `dali_graph.py`. DALI's resize repeats the crop's edge pixels where its kernel
reaches beyond them (up to 18 levels off in the outermost pixels of a 20-pixel view); torchvision,
Pillow and `reference.py` drop those taps and scale the rest to sum to 1. So the crop is framed in
zeros as wide as the kernel reaches, resized, and divided by what the same does to an image of ones;
the ones are separable, a column and a row. What remains is the table DALI takes its cubic from.
"""

from typing import Any, TypeAlias

import numpy as np
import nvidia.dali.fn
import nvidia.dali.types

# DALI fills its modules at run time, and its stubs know neither `if` on a node nor what comes out.
Node: TypeAlias = Any  # a nvidia.dali.data_node.DataNode
fn: Any = nvidia.dali.fn
types: Any = nvidia.dali.types

_REACH_LINEAR, _REACH_CUBIC = 1, 2  # of the kernel, in pixels of the coarser grid


def window_feed(
    window: np.ndarray,  # [N, 4] int32 - as in Plan
    bicubic: np.ndarray,  # [N] bool
    size_px: int,
) -> dict[str, np.ndarray]:
    """The inputs that `crop_and_resize` names, for N samples."""
    shape = np.ascontiguousarray(window[:, 2:])
    reach = np.where(bicubic, _REACH_CUBIC, _REACH_LINEAR)[:, None]
    margin = np.ceil(reach * np.maximum(shape / size_px, 1)).astype(np.int32) + 1  # [N, 2]
    # Linear and enlarging: the edge pixel repeated is what dropping the tap beyond it gives.
    margin[~bicubic[:, None] & (shape <= size_px)] = 0
    return {
        "interpolation": np.where(
            bicubic, types.INTERP_CUBIC.value, types.INTERP_LINEAR.value
        ).astype(np.int32),
        "start": np.ascontiguousarray(window[:, :2]),
        "shape": shape,
        "margin": margin,
    }


def crop_and_resize(images: Node, size_px: int) -> Node:
    """[size_px, size_px, 3] float32 of each uint8 image's window, not clamped."""
    start, shape, margin = (
        fn.external_source(name=name, dtype=types.INT32, ndim=1)
        for name in ("start", "shape", "margin")
    )
    interpolation = fn.external_source(name="interpolation", dtype=types.INT32, ndim=0)
    interpolation = fn.cast(interpolation, dtype=types.INTERP_TYPE)
    crop = fn.slice(images, start=start, shape=shape, axes=[0, 1])
    x = _resize_framed(crop, shape, margin, [size_px, size_px], interpolation)
    along, across = (
        types.Constant(np.array([1, 0], np.int32)),
        types.Constant(np.array([0, 1], np.int32)),
    )
    column = _resize_framed(
        _ones_like(crop[:, 0:1, 0:1]),
        shape * along + across,
        margin * along,
        [size_px, 1],
        interpolation,
    )
    row = _resize_framed(
        _ones_like(crop[0:1, :, 0:1]),
        shape * across + along,
        margin * across,
        [1, size_px],
        interpolation,
    )
    return x / (column * row)


def _resize_framed(
    x: Node,  # [h, w, C] uint8
    shape: Node,  # [2] int32 - h, w
    margin: Node,  # [2] int32 - rows of zeros above and below, columns left and right
    size: list[int],  # of the result
    interpolation: Node,
) -> Node:
    framed = fn.slice(
        x, start=-margin, shape=shape + 2 * margin, axes=[0, 1], out_of_bounds_policy="pad"
    )
    return fn.resize(
        framed,
        size=size,
        roi_start=fn.cast(margin, dtype=types.FLOAT),
        roi_end=fn.cast(margin + shape, dtype=types.FLOAT),
        interp_type=interpolation,
        antialias=True,
        dtype=types.FLOAT,
    )


def _ones_like(x: Node) -> Node:
    return x * types.Constant(0, dtype=types.UINT8) + types.Constant(1, dtype=types.UINT8)
