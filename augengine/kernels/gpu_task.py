"""The tasks of GPU kernels: one record a view, and for each launch the tiles it makes.

A batch becomes one block of bytes, uploaded at once: the records of all views, then a section for
each launch: two words a program, its view and its tile. The resize goes over all views image by
image, so that the views of an image find it in the L2 cache.

Kernels read the block as int64, int32 and float32 words; the places of the fields are those of
`VIEW_TASK`, so nothing is written down twice.
"""

from typing import NamedTuple

import numpy as np

from augengine.plan import CONTRAST, HUE, NO_SOLARIZE, ORDERS, Plan

GRAY = HUE + 1  # not a colour op of the plan's order, but always the last one here
NUM_OPS = 5  # the four colour ops in the view's order, then gray
# A program makes a tile of a view: 32 divides all usual crop sizes, and is a warp.
TILE_PX = 32
FLAT_TILE = 2048  # of the contrast, in the order of memory
# Taps of the blur that weigh less than 1e-7 against the centre are left out: beyond this many sigma
REACH_SIGMAS = float(np.sqrt(2 * np.log(1e7)))
ALIGNMENT = 16  # bytes: what Triton assumes of every pointer it is given
# A blur of 16-bit views looks so many pixels around a tile, or a multiple: gpu_blur_half.py.
REACH_UNIT = 16
PLACE_UNIT = 8  # all places in the scratch of pixels are multiples

# Addresses are of uint8 images and of finished views; places are numbers of elements in a scratch.
VIEW_TASK = np.dtype(
    [
        ("origin", np.int64),  # address of the window's first byte
        ("out", np.int64),  # address of the view [S, S, 3]
        ("pixels", np.int64),  # place of the view as it comes from the resize
        ("blurred", np.int64),  # place of the view blurred along its rows, if views are float32
        ("height", np.int32),  # of the window
        ("width", np.int32),
        ("stride", np.int32),  # bytes from row to row of the image
        ("last_word", np.int32),  # words from the window's first to the image's last
        ("size", np.int32),  # S
        ("flip", np.int32),
        ("bicubic", np.int32),
        ("num_ops", np.int32),
        ("contrast_at", np.int32),  # its place among the ops; num_ops: none
        ("radius", np.int32),  # of the blur; 0: none
        ("taps", np.int32),  # place of the blur's weights, if views are float32
        ("sums", np.int32),  # place of the tiles' sums of the gray image
        ("ops", np.int32, NUM_OPS),  # BRIGHTNESS .. HUE, GRAY: those that do something
        ("amounts", np.float32, NUM_OPS),  # of each op; of HUE in sixths of a turn, 0 to 6
        ("sigma", np.float32),
        ("solarize", np.float32),
        ("scale", np.float32, 3),  # normalisation: x * scale + shift
        ("shift", np.float32, 3),
    ],
    align=True,
)

ROW_SHIFT = 16  # a square tile's number is its row, shifted, and its column


class Launches(NamedTuple):
    """One batch, [programs, 2] int32 a launch: record, tile; both blurs have the same."""

    resize: np.ndarray
    contrast: np.ndarray
    blur: np.ndarray


class Needs(NamedTuple):
    """The share of a batch in the two scratch areas."""

    pixel_bytes: int
    floats: int  # float32: sums, and weights of blurs if views are float32


def view_tasks(
    plan: Plan,
    images: np.ndarray,  # [B] int64 - addresses of the images [H, W, 3]
    outs: np.ndarray,  # [B, V] int64 - addresses of the views [S, S, 3]
) -> np.ndarray:
    """[B, V] VIEW_TASK, without places in the scratch."""
    tasks = np.zeros((plan.batch_size, plan.num_views), VIEW_TASK)
    top, left, height, width = np.moveaxis(plan.window.astype(np.int64), -1, 0)
    image_bytes = 3 * plan.image_sizes.astype(np.int64).prod(axis=1)[:, None]
    stride = 3 * plan.image_sizes[:, 1:].astype(np.int64)
    origin = images[:, None] + top * stride + 3 * left
    tasks["origin"], tasks["out"] = origin, outs
    tasks["last_word"] = (images[:, None] + image_bytes - 1) // 4 - origin // 4
    tasks["height"], tasks["width"], tasks["stride"] = height, width, stride
    tasks["size"], tasks["bicubic"], tasks["flip"] = plan.size_px, plan.bicubic, plan.flip
    tasks["solarize"] = np.minimum(plan.solarize, NO_SOLARIZE)
    # A blur that only its middle tap shows is none.
    reach = np.minimum(plan.sigma * REACH_SIGMAS, plan.kernel_px // 2)
    tasks["radius"], tasks["sigma"] = reach, plan.sigma
    tasks["scale"] = 1 / np.array(plan.std)
    tasks["shift"] = -np.array(plan.mean) / np.array(plan.std)
    _fill_ops(tasks, plan)
    return tasks


def _fill_ops(tasks: np.ndarray, plan: Plan) -> None:
    """The colour ops that do something, in their order, gray last."""
    order = ORDERS[plan.order].astype(np.int64)  # [B, V, 4]
    # In the end it is float32; the fraction of a turn loses nothing before.
    sixths = 6 * (plan.hue.astype(np.float64) - np.floor(plan.hue))
    amounts = np.stack([plan.brightness, plan.contrast, plan.saturation, sixths], axis=-1)
    used = np.stack([plan.brightness != 1, plan.contrast != 1, plan.saturation != 1, plan.hue != 0])
    used = np.take_along_axis(np.moveaxis(used, 0, -1), order, axis=-1)
    used = np.concatenate([used, plan.gray[..., None]], axis=-1)  # [B, V, 5]
    tasks["num_ops"] = used.sum(axis=-1)
    # A stable sort moves what is used to the front and keeps its order.
    front = np.argsort(~used, axis=-1, kind="stable")
    gray = np.full((*plan.gray.shape, 1), GRAY)
    tasks["ops"] = np.take_along_axis(np.concatenate([order, gray], axis=-1), front, axis=-1)
    amounts = np.take_along_axis(amounts, order, axis=-1)
    amounts = np.concatenate([amounts, np.ones_like(amounts[..., :1])], axis=-1)
    tasks["amounts"] = np.take_along_axis(amounts, front, axis=-1)
    is_contrast = (tasks["ops"] == CONTRAST) & (np.arange(NUM_OPS) < tasks["num_ops"][..., None])
    tasks["contrast_at"] = np.where(is_contrast.any(-1), is_contrast.argmax(-1), tasks["num_ops"])


def place_in_scratch(tasks: np.ndarray, exact: bool) -> Needs:
    """Give each view of `tasks` [B, V] the scratch it needs, one behind the other; what it takes.

    A view with neither contrast nor blur needs none. `exact`: pixels are int64 and a blur takes a
    second plane of them; else three planes of float16, a blur's matrices behind them (gpu_kept.py).
    """
    planes, for_blur = _numbers_kept(tasks, exact)
    pixels_end = (planes + for_blur).cumsum().reshape(planes.shape)
    sums = num_tiles(tasks["size"]) * (tasks["contrast_at"] < tasks["num_ops"])
    taps = num_taps(tasks["radius"]) * (tasks["radius"] > 0) * exact
    floats = np.stack([sums, taps], axis=-1)
    floats_end = floats.cumsum().reshape(floats.shape)
    tasks["pixels"], tasks["blurred"] = pixels_end - planes - for_blur, pixels_end - for_blur
    tasks["sums"], tasks["taps"] = np.moveaxis(floats_end - floats, -1, 0)
    return Needs(int(pixels_end.max()) * _number_bytes(exact), int(floats.sum()))


def scratch_bytes(tasks: np.ndarray, exact: bool) -> np.ndarray:
    """[B] int64: what `place_in_scratch` will take of pixels for the views of each image."""
    planes, for_blur = _numbers_kept(tasks, exact)
    return (planes + for_blur).sum(axis=1) * _number_bytes(exact)


def _numbers_kept(tasks: np.ndarray, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    """[B, V] twice: int64 or float16 numbers for each view's pixels, and for its blur."""
    has_contrast, has_blur = tasks["contrast_at"] < tasks["num_ops"], tasks["radius"] > 0
    area = _rounded_up(tasks["size"].astype(np.int64) ** 2, PLACE_UNIT)
    planes = (has_contrast | has_blur) * area * (1 if exact else 3)
    return planes, has_blur * (area if exact else num_weights(tasks["size"], tasks["radius"]))


def _number_bytes(exact: bool) -> int:
    return 8 if exact else 2


def num_weights(size: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Weights of a blur of 16-bit views: a matrix for each place of a tile along an axis."""
    seen = TILE_PX + 2 * _rounded_up(radius.astype(np.int64), REACH_UNIT)
    return -(-size // TILE_PX) * seen * TILE_PX


def num_taps(radius: np.ndarray) -> np.ndarray:
    """Weights of a blur with the zeros around them: any row of a tile may look for any input."""
    return 2 * (radius + TILE_PX) - 1


def num_tiles(size: np.ndarray) -> np.ndarray:
    """Tiles of a square view."""
    return (-(-size // TILE_PX)) ** 2


def launches_of(tasks: np.ndarray) -> Launches:
    """The launches for `tasks` [B, V]; B is at least 1."""
    numbers = np.arange(tasks.size, dtype=np.int32).reshape(tasks.shape)
    has_contrast, has_blur = tasks["contrast_at"] < tasks["num_ops"], tasks["radius"] > 0
    sizes = tasks["size"][0].tolist()  # every image has a plan's views
    squares = [_square_tiles(-(-size // TILE_PX)) for size in sizes]
    flats = [np.arange(-(-(size**2) // FLAT_TILE), dtype=np.int32) for size in sizes]
    view = np.repeat(np.arange(len(sizes)), [len(tiles) for tiles in squares])
    resize = np.empty((len(tasks), len(view), 2), np.int32)
    resize[..., 0], resize[..., 1] = numbers[:, view], np.concatenate(squares)
    return Launches(
        resize.reshape(-1, 2),
        _programs([numbers[has, v] for v, has in enumerate(has_contrast.T)], flats),
        _programs([numbers[has, v] for v, has in enumerate(has_blur.T)], squares),
    )


def _programs(records: list[np.ndarray], tiles: list[np.ndarray]) -> np.ndarray:
    """[programs, 2] of a launch: view by view, all tiles of each of these records."""
    shapes = [(len(r), len(t)) for r, t in zip(records, tiles, strict=True)]
    ends = np.cumsum([n * m for n, m in shapes])
    words = np.empty((ends[-1], 2), np.int32)
    for k, (end, shape) in enumerate(zip(ends, shapes, strict=True)):
        mine = words[end - shape[0] * shape[1] : end].reshape(*shape, 2)
        mine[..., 0], mine[..., 1] = records[k][:, None], tiles[k]
    return words


def _square_tiles(across: int) -> np.ndarray:
    rows, columns = np.indices((across, across), np.int32)
    return ((rows << ROW_SHIFT) | columns).ravel()


def _rounded_up(count: np.ndarray, unit: int) -> np.ndarray:
    return -(-count // unit) * unit
