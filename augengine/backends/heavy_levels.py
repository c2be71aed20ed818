"""RandAugment's ops that change levels, many views at once: the definitions of heavy/plain_ops.py.

Whole numbers, or float32 and float64 sums that PIL takes in the same order, one at a time: every
device gives the same levels.

Legend: R views, S side in pixels. Views are [R, 3, S, S] uint8; amounts [R] float32, on the host.
"""

from collections.abc import Callable

import numpy as np
import torch

LevelOp = Callable[[torch.Tensor, np.ndarray], torch.Tensor]


def auto_contrast(x: torch.Tensor, _: np.ndarray) -> torch.Tensor:
    """Each channel of each view stretched over 0 to 255."""
    low, high = (edge(x.flatten(2), -1).long()[..., None] for edge in (torch.amin, torch.amax))
    levels = torch.arange(256, device=x.device)
    width = (high - low).clamp(min=1).double()  # [R, 3, 1]
    scale = torch.full_like(width, 255) / width  # 255 / width is 255 times its reciprocal to torch
    table = (levels * scale + -low * scale).clamp(0, 255).long()
    return _looked_up(x, torch.where(high > low, table, levels))


def equalize(x: torch.Tensor, _: np.ndarray) -> torch.Tensor:
    """Each channel of each view by the share of its pixels that are darker."""
    rows, levels = len(x) * 3, torch.arange(256, device=x.device)
    first = 256 * torch.arange(rows, device=x.device).view(-1, 3, 1)
    histogram = (x.flatten(2).long() + first).flatten().bincount(minlength=256 * rows)
    histogram = histogram.view(-1, 3, 256)
    lightest = torch.where(histogram > 0, levels, 0).amax(-1, keepdim=True)
    step = (histogram.sum(-1, keepdim=True) - histogram.gather(-1, lightest)) // 255
    darker = histogram.cumsum(-1) - histogram
    table = ((step // 2 + darker) // step.clamp(min=1)).clamp(max=255)
    return _looked_up(x, torch.where(step > 0, table, levels))


def invert(x: torch.Tensor, _: np.ndarray) -> torch.Tensor:
    """255 less the level."""
    return 255 - x


def posterize(x: torch.Tensor, bits: np.ndarray) -> torch.Tensor:
    """The highest bits alone, at least one."""
    masks = 256 - 2 ** (8 - np.maximum(1, bits.astype(np.int64)))
    return x & _of_each(x, masks.astype(np.uint8))


def solarize(x: torch.Tensor, threshold: np.ndarray) -> torch.Tensor:
    """Levels from the threshold on inverted."""
    return torch.where(x < _of_each(x, np.ceil(threshold).astype(np.int64)), x, 255 - x)


def solarize_add(x: torch.Tensor, levels: np.ndarray) -> torch.Tensor:
    """Lighter by so many levels, then solarize at 128."""
    # What is added is cut to a whole level after the sum: the same as before it.
    lighter = (x + _of_each(x, np.floor(levels).astype(np.int64))).clamp(0, 255).to(torch.uint8)
    return solarize(lighter, np.full(len(levels), 128.0))


def color(x: torch.Tensor, factor: np.ndarray) -> torch.Tensor:
    """Away from the gray image by a factor."""
    return _blend(gray_levels(x).expand_as(x), x, factor)


def contrast(x: torch.Tensor, factor: np.ndarray) -> torch.Tensor:
    """Away from the mean of the gray image, in whole levels."""
    gray = gray_levels(x)
    total = gray.long().sum((1, 2, 3), keepdim=True)
    count = gray[0].numel()
    return _blend((2 * total + count) // (2 * count), x, factor)


def brightness(x: torch.Tensor, factor: np.ndarray) -> torch.Tensor:
    """Away from black."""
    return _blend(torch.zeros_like(x), x, factor)


def sharpness(x: torch.Tensor, factor: np.ndarray) -> torch.Tensor:
    """Away from a mean of 3 x 3 pixels, the middle one fivefold; the border has none."""
    smooth, side = x.clone(), x.shape[-1]
    if side > 2:
        wide = x.to(torch.int32)
        rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
        total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * wide[..., 1:-1, 1:-1]
        smooth[..., 1:-1, 1:-1] = ((2 * total + 13) // 26).to(torch.uint8)
    return _blend(smooth, x, factor)


def gray_levels(x: torch.Tensor) -> torch.Tensor:
    """[R, 1, S, S] uint8: PIL's mode L."""
    red, green, blue = x.to(torch.int32).split(1, 1)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).to(torch.uint8)


LEVEL_OPS: dict[str, LevelOp] = {
    "auto_contrast": auto_contrast,
    "equalize": equalize,
    "invert": invert,
    "posterize": posterize,
    "solarize": solarize,
    "solarize_add": solarize_add,
    "color": color,
    "contrast": contrast,
    "brightness": brightness,
    "sharpness": sharpness,
}


def _looked_up(
    x: torch.Tensor,  # [R, 3, S, S] uint8
    table: torch.Tensor,  # [R, 3, 256] int64 - the new level of each
) -> torch.Tensor:
    return table.gather(-1, x.flatten(2).long()).to(torch.uint8).view_as(x)


def _blend(first: torch.Tensor, second: torch.Tensor, share: np.ndarray) -> torch.Tensor:
    difference = second.float() - first.float()
    mixed = first.float() + _of_each(second, share.astype(np.float32)) * difference
    return mixed.clamp(0, 255).to(torch.uint8)


def _of_each(x: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    """[R, 1, 1, 1] where the views lie."""
    return torch.from_numpy(values).to(x.device)[:, None, None, None]
