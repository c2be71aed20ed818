"""The `kornia` backend: our antialiased crop, Kornia's colours and blur, the plan's numbers.

Kornia's augmentation classes draw; its functions do not. Each slot of the four colour ops runs one
batched call per op, on the samples that have this op in this slot and no others.

On the host every image is rendered alone, in one of `num_threads` threads with one torch thread
each: its views stay in the cache, and neither the rest of the batch nor the number of threads can
change a bit of them. On CUDA the whole batch is rendered at once; there a mean over pixels may
round differently in another batch (under 1e-6).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from kornia.color import rgb_to_grayscale
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_hue,
    adjust_saturation_with_gray_subtraction,
)
from kornia.filters import gaussian_blur2d
from torch.nn.functional import interpolate

from augengine.backends.check import check_inputs
from augengine.backends.turning import turn_views
from augengine.plan import BRIGHTNESS, CONTRAST, HUE, NO_SOLARIZE, ORDERS, SATURATION, Plan

# torch's CUDA kernel keeps the weights of an antialiased resize in shared memory: 48 KiB hold about
# 180 taps a direction. Beyond this reach (in input pixels) a crop is resized on the host.
_MAX_CUDA_REACH_PX = 80
_ADJUST: dict[int, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    BRIGHTNESS: adjust_brightness_accumulative,
    CONTRAST: adjust_contrast_with_mean_subtraction,
    SATURATION: adjust_saturation_with_gray_subtraction,
    HUE: lambda x, turns: adjust_hue(x, turns * (2 * math.pi)),
}


class KorniaBackend:
    """Executes plans with torch and Kornia; may be called from several threads."""

    name = "kornia"

    def __init__(self, device: torch.device, dtype: torch.dtype, num_threads: int) -> None:
        self.device = device
        self.dtype = dtype
        # A pool even for one thread: its torch runs single-threaded whatever the caller's does.
        self._pool = ThreadPoolExecutor(num_threads, "kornia", torch.set_num_threads, (1,))

    @torch.no_grad()
    def __call__(self, images: Sequence[torch.Tensor], plan: Plan) -> tuple[torch.Tensor, ...]:
        """Per crop group one [V, B, C, S, S] tensor, channels_last when V and B are flattened."""
        check_inputs(images, plan, self.device)
        outputs = tuple(self._empty(plan, views) for views in plan.groups)
        if self.device.type == "cuda":
            self._render(images, plan, slice(0, plan.batch_size), outputs)
        else:
            rows = [slice(b, b + 1) for b in range(plan.batch_size)]
            for _ in self._pool.map(lambda r: self._render(images, plan, r, outputs), rows):
                pass
        turn_views(outputs, plan)
        return outputs

    def _empty(self, plan: Plan, views: tuple[int, ...]) -> torch.Tensor:
        size_px = int(plan.size_px[views[0]])
        shape = (len(views), plan.batch_size, size_px, size_px, 3)
        return torch.empty(shape, dtype=self.dtype, device=self.device).permute(0, 1, 4, 2, 3)

    @torch.no_grad()  # the caller's does not reach into the pool
    def _render(
        self,
        images: Sequence[torch.Tensor],
        plan: Plan,
        rows: slice,
        outputs: tuple[torch.Tensor, ...],
    ) -> None:
        """Write all views of some of the images."""
        part = plan.rows(rows)
        for views, output in zip(plan.groups, outputs, strict=True):
            pixels = render_group(images[rows], part, views)
            output[:, rows] = pixels.unflatten(0, (len(views), -1))


def render_group(
    images: Sequence[torch.Tensor],  # B of [H, W, 3] uint8
    plan: Plan,  # of these images
    views: tuple[int, ...],  # of one crop group
) -> torch.Tensor:
    """[V * B, 3, S, S] float32, view-major, normalised."""
    x = torch.stack([_crop(image, plan, b, v) for v in views for b, image in enumerate(images)])

    def samples(array: np.ndarray) -> np.ndarray:  # [B, V, ...] -> [N, ...], view-major
        return array[:, list(views)].swapaxes(0, 1).reshape(-1, *array.shape[2:])

    factors = np.stack([plan.brightness, plan.contrast, plan.saturation, plan.hue], axis=-1)
    _adjust_colours(x, ORDERS[samples(plan.order)], samples(factors))
    for rows in _chosen(samples(plan.gray), x):
        x[rows] = rgb_to_grayscale(x[rows]).expand(-1, 3, -1, -1)
    _blur(x, samples(plan.sigma), np.repeat(plan.kernel_px[list(views)], len(images)))
    threshold = samples(plan.solarize)
    for rows in _chosen(threshold < NO_SOLARIZE, x):
        y = x[rows]
        x[rows] = torch.where(y >= _pick(threshold, rows)[:, None, None, None], 1 - y, y)
    mean, std = (x.new_tensor(values)[:, None, None] for values in (plan.mean, plan.std))
    return x.sub_(mean).div_(std)


def _crop(image: torch.Tensor, plan: Plan, b: int, v: int) -> torch.Tensor:
    """[3, S, S] float32 in [0, 1]: the window resized, clamped and flipped."""
    top, left, height, width = plan.window[b, v].tolist()
    size_px = int(plan.size_px[v])
    x = image[top : top + height, left : left + width].permute(2, 0, 1)[None]
    reach_px = max(height, width) / size_px * (2 if plan.bicubic[v] else 1)
    if x.is_cuda and reach_px > _MAX_CUDA_REACH_PX:
        x = x.cpu()
    x = interpolate(
        x.to(torch.float32, memory_format=torch.contiguous_format).div_(255),
        (size_px, size_px),
        mode="bicubic" if plan.bicubic[v] else "bilinear",
        antialias=True,
    )
    x = x[0].clamp_(0, 1).to(image.device)
    return x.flip(-1) if plan.flip[b, v] else x


def _adjust_colours(x: torch.Tensor, sequence: np.ndarray, factors: np.ndarray) -> None:
    """Run the four slots of `sequence` [N, 4] in place; `factors` [N, 4] is by op number."""
    for slot in range(4):
        for op, adjust in _ADJUST.items():
            used = factors[:, op] != (0 if op == HUE else 1)
            for rows in _chosen(used & (sequence[:, slot] == op), x):
                x[rows] = adjust(x[rows], _pick(factors[:, op], rows))


def _blur(x: torch.Tensor, sigma: np.ndarray, kernel_px: np.ndarray) -> None:
    for taps in np.unique(kernel_px).tolist():
        for rows in _chosen((sigma > 0) & (kernel_px == taps), x):
            sigmas = _pick(sigma, rows)[:, None].expand(-1, 2)
            x[rows] = gaussian_blur2d(x[rows], taps, sigmas, "reflect", separable=True)


def _chosen(mask: np.ndarray, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """The numbers of the samples that are meant, once, or nothing when there are none."""
    if mask.any():
        yield torch.from_numpy(np.flatnonzero(mask)).to(x.device)


def _pick(values: np.ndarray, rows: torch.Tensor) -> torch.Tensor:
    """The values of some samples, beside their pixels."""
    return torch.from_numpy(values).to(rows.device)[rows]
