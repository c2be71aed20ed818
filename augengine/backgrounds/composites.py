"""Views whose background is another: composed on the source's pixels, before the crop.

What a background is made of belongs to a pixel alone: colours, the mask, the donor's pixel at the
same place. So composing the window of a view, and cutting it out of the composed image, are the
same to the letter, and only the window is composed. The backend then makes the view of it as of any
image, so every backend has the op, and none knows of it. Compositing what is cropped and resized
already would differ: a resize mixes foreground and background at the border.

meaning.py says the same in numpy; both are whole numbers.

Legend: B images, V views of a crop group, C channels, H, W and h, w sides of image and window.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from augengine.plan import KEPT, PASTED, Plan

Make = Callable[[Sequence[torch.Tensor], Plan], tuple[torch.Tensor, ...]]  # a backend


@torch.no_grad()
def make_views(
    make: Make,
    images: Sequence[torch.Tensor],  # B of [H, W, 3] uint8
    plan: Plan,
    masks: Sequence[torch.Tensor | None],  # B of [H, W] uint8 - 255 is foreground
) -> tuple[torch.Tensor, ...]:
    """The views of a plan, per crop group [V, B, C, S, S], with the backgrounds that it says."""
    rows_of = {int(id): row for row, id in enumerate(plan.ids)}

    @cache
    def mean_of(row: int) -> torch.Tensor:
        return _mean_of_background(images[row], _whole(masks[row]))

    def behind(b: int, v: int) -> torch.Tensor:
        if plan.background[b, v] != PASTED:
            return torch.from_numpy(plan.fill[b, v]).to(images[b].device)
        donor = rows_of[int(plan.donor[b, v])]
        return _pasted(images[donor], _whole(masks[donor]), mean_of(donor), plan, b, v)

    def composed(b: int, v: int) -> torch.Tensor:
        top, left, height, width = plan.window[b, v].tolist()
        window = slice(top, top + height), slice(left, left + width)
        return _mixed(images[b][window], _whole(masks[b])[window], behind(b, v))

    outs = make(images, plan)
    for views, out in zip(plan.groups, outs, strict=True):
        for k, v in enumerate(views):
            rows = np.flatnonzero(plan.background[:, v] != KEPT)
            if len(rows):
                crops = [composed(b, v) for b in rows.tolist()]
                (made,) = make(crops, _windows_alone(plan, rows, v))
                out[k, torch.from_numpy(rows).to(out.device)] = made[0]
    return outs


def _whole(mask: torch.Tensor | None) -> torch.Tensor:
    assert mask is not None, "only images with masks have another background drawn"
    return mask


def _windows_alone(plan: Plan, rows: np.ndarray, v: int) -> Plan:
    """The plan of one view of some images, of which only the windows are there."""
    part, one = plan.rows(rows), slice(v, v + 1)
    window = part.window[:, one].copy()
    window[..., :2] = 0
    per_view = ("flip", "vflip", "quarter_turns", "brightness", "contrast", "saturation", "hue")
    per_view += ("order", "gray", "sigma", "solarize")
    return replace(
        part,
        image_sizes=window[:, 0, 2:],
        window=window,
        background=np.zeros(()),
        fill=np.zeros(()),
        donor=np.zeros(()),
        heavy=None,  # made of what is finished
        **{name: getattr(part, name)[:, one] for name in per_view},
        **{name: getattr(part, name)[one] for name in ("group", "size_px", "kernel_px", "bicubic")},
    )


def _mixed(
    front: torch.Tensor,  # [h, w, 3] uint8
    mask: torch.Tensor,  # [h, w] uint8
    behind: torch.Tensor,  # [h, w, 3] or [3] uint8
) -> torch.Tensor:
    """The foreground over another background, rounded: [h, w, 3] uint8."""
    if bool(((mask == 0) | (mask == 255)).all()):  # nothing to mix: the same, and faster
        return torch.where(mask[..., None] == 255, front, behind)
    share = mask[..., None].int()
    return ((share * front + (255 - share) * behind.int() + 127) // 255).byte()


def _mean_of_background(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean colour of an image's background, rounded: [3] uint8; black where there is none."""
    # Sums of whole numbers, which float64 holds exactly in whatever order; fast as a product.
    share = (255 - mask).reshape(1, -1).double()
    total = share.sum()
    weighted = (share @ image.reshape(-1, 3).double())[0] + (total / 2).floor()
    return torch.div(weighted, total.clamp(min=1), rounding_mode="floor").byte()


def _pasted(
    image: torch.Tensor,  # [H, W, 3] uint8 - of the donor
    mask: torch.Tensor,  # [H, W] uint8
    mean: torch.Tensor,  # [3] uint8 - colour of its background
    plan: Plan,
    b: int,
    v: int,
) -> torch.Tensor:
    """The donor's background behind a window of image `b`: [h, w, 3] uint8.

    The donor is stretched to the size of the image, each pixel the nearest, so that a window cuts
    out of it what it cuts out of the image; its own foreground becomes the mean colour.
    """
    places = []
    for axis in (0, 1):
        start, count = plan.window[b, v, axis].item(), plan.window[b, v, 2 + axis].item()
        size = int(plan.image_sizes[b, axis])
        at = np.arange(start, start + count, dtype=np.int64)
        places.append((2 * at + 1) * image.shape[axis] // (2 * size))
    rows, columns = (torch.from_numpy(place).to(image.device) for place in places)
    pixels, share = image[rows][:, columns], mask[rows][:, columns]
    return _mixed(mean.expand_as(pixels), share, pixels)
