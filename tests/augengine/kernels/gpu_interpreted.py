"""What the GPU kernels make in Triton's interpreter, as JSON: run with TRITON_INTERPRET=1.

A process of its own, since Triton looks at that variable when a kernel is defined. Each check
prints its worst difference from the reference over all its views, in levels of 0 to 255; every
output and all scratch begin as NaN, and every image ends where memory does.
"""

import ctypes
import json
import mmap
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from augengine.backends import fused_cuda
from augengine.backends.fused_cuda import FusedCudaBackend
from augengine.draw import draw_plan
from augengine.kernels import gpu_launch
from augengine.plan import NO_SOLARIZE, Plan
from augengine.policies import load_policy, policy_names
from augengine.reference import render

COLOURS = {"brightness": 0.7, "contrast": 1.4, "saturation": 0.3, "hue": -0.17, "order": 13}
OPS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "flip": {"flip": True},
    "bicubic": {"bicubic": True},
    "bicubic and flip": {"bicubic": True, "flip": True},
    "brightness up": {"brightness": 1.8},
    "brightness to black": {"brightness": 0.0},
    "contrast up": {"contrast": 1.8},
    "contrast to its mean": {"contrast": 0.0},
    "saturation up": {"saturation": 1.8},
    "saturation to gray": {"saturation": 0.0},
    "hue forward": {"hue": 0.2},
    "hue backward": {"hue": -0.31},
    "hue half a turn": {"hue": 0.5},
    "gray": {"gray": True},
    "blur": {"sigma": 1.3},
    "hardly a blur": {"sigma": 0.1},
    "wide blur": {"sigma": 30.0},
    "gray and blur": {"gray": True, "sigma": 1.0},
    "solarize": {"solarize": 128 / 255},
    "solarize all": {"solarize": 0.0},
    "colours": COLOURS,
    "contrast and blur": {"contrast": 0.5, "sigma": 0.8},
    "vflip": {"vflip": True},
    "turned once": {"quarter_turns": 1},
    "vflip, turned thrice, blur": {"vflip": True, "quarter_turns": 3, "flip": True, "sigma": 0.8},
    "everything": {
        **COLOURS,
        **{"flip": True, "gray": True, "sigma": 0.9, "solarize": 0.5, "bicubic": True},
    },
}
PROT_NONE = 0
DTYPE = os.environ.get("VIEWS", "float32")  # of the views of `errors` and `worst`
NEUTRAL = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0, "order": 0}
NEUTRAL |= {"flip": False, "vflip": False, "quarter_turns": 0}
NEUTRAL |= {"gray": False, "sigma": 0, "solarize": NO_SOLARIZE}


def plan_of(images: Sequence[torch.Tensor], views: Sequence[dict[str, Any]]) -> Plan:
    """Each view of every image; a view has fields of Plan, size_px and a window for all images."""
    b, v = len(images), len(views)
    views = sorted(({"size_px": 13, **view} for view in views), key=lambda view: view["size_px"])
    sizes = np.array([image.shape[:2] for image in images])
    window = np.zeros((b, v, 4), np.int32)
    window[..., 2:] = sizes[:, None]
    for number, view in enumerate(views):
        if "window" in view:
            window[:, number] = view["window"]
    sides = [view["size_px"] for view in views]
    return Plan(
        ids=np.arange(b),
        epochs=np.zeros(b),
        image_sizes=sizes,
        window=window,
        **{
            name: np.tile([view.get(name, value) for view in views], (b, 1))
            for name, value in NEUTRAL.items()
        },
        group=np.unique(sides, return_inverse=True)[1],
        size_px=np.array(sides),
        kernel_px=np.array(
            [view.get("kernel_px", min(9, 2 * view["size_px"] - 1)) for view in views]
        ),
        bicubic=np.array([view.get("bicubic", False) for view in views]),
        mean=(0.1, 0.5, 0.9),
        std=(0.2, 0.5, 1.0),
    )


def guarded(array: np.ndarray, *, room: int = 0) -> torch.Tensor:
    """A copy that ends `room` bytes before a page that must not be touched."""
    page = mmap.PAGESIZE
    first = -(array.nbytes + room) % page
    memory = mmap.mmap(-1, first + array.nbytes + room + page)
    guard = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + len(memory) - page
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), PROT_NONE) == 0
    copy = np.frombuffer(memory, np.uint8, array.nbytes, first).reshape(array.shape)
    copy[...] = array
    return torch.from_numpy(copy)


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth colours with noise, and white and gray where they are large enough."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width][:, :, :, None] / 7
    waves = 128 + 90 * np.sin(rows + columns * [0.5, 1.0, 1.7])
    image = np.clip(waves + rng.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)
    image[: height // 5, : width // 5] = 255
    image[height // 2 : height // 2 + height // 5] = 128
    return guarded(image, room=seed % 4)


def errors(images: Sequence[torch.Tensor], plan: Plan) -> Iterator[np.ndarray]:
    """Per view of each image the differences from the reference, in levels."""
    std = np.array(plan.std)[:, None, None] * 255
    crops = FusedCudaBackend("cpu", getattr(torch, DTYPE))(images, plan)
    for group, crop in zip(plan.groups, crops, strict=True):
        for v, view in zip(group, crop.float().numpy(), strict=True):
            for b, image in enumerate(images):
                yield np.abs(view[b] - render(image.numpy(), plan, b, v)) * std


def worst(images: Sequence[torch.Tensor], plan: Plan) -> tuple[float, float]:
    """The largest mean over a view, and the largest difference; NaN if there is one."""
    found = list(errors(images, plan))
    return float(np.max([e.mean() for e in found])), float(np.max([e.max() for e in found]))


def ops() -> dict[str, tuple[float, float]]:
    image = [picture(19, 27, 1)]
    return {name: worst(image, plan_of(image, [view])) for name, view in OPS.items()}


def orders() -> tuple[float, float]:
    """The 24 orders of the colour ops."""
    image = [picture(11, 9)]
    views = [{**COLOURS, "hue": 0.2, "order": order, "size_px": 8} for order in range(24)]
    return worst(image, plan_of(image, views))


def shapes() -> tuple[float, float]:
    """Images from one pixel on in sizes below, at and above a tile."""
    images = [picture(h, w, h + w) for h in (1, 17) for w in (1, 2, 5, 22)]
    views = [
        {"size_px": size, "bicubic": bicubic, "sigma": 0.8 * bicubic}
        for size, bicubic in ((1, False), (2, True), (13, False), (13, True), (33, True))
    ]
    return worst(images, plan_of(images, views))


def windows() -> tuple[float, float]:
    """Windows that touch each border and corner, or hold one pixel."""
    image = [picture(20, 15)]
    places = [(t, l, h, w) for h, w in ((1, 1), (9, 6), (1, 5), (7, 1))
              for t in (0, 3, 20 - h) for l in (0, 4, 15 - w)]  # fmt: skip
    views = [
        {"window": place, "size_px": 7, "flip": True, "hue": 0.1, "bicubic": k % 2 == 1}
        for k, place in enumerate(places)
    ]
    return worst(image, plan_of(image, views))


def large() -> tuple[float, float]:
    """A corner of 6000 x 4000 pixels, and windows that shrink forty times."""
    rng = np.random.default_rng(0)
    images = [guarded(rng.integers(0, 256, (6000, 4000, 3), np.uint8))]
    views = [
        {"window": (5980, 3977, 20, 23), "size_px": 8},
        {"window": (5680, 3992, 320, 8), "size_px": 8},
        {"window": (5994, 3680, 6, 320), "size_px": 8, "bicubic": True},
    ]
    return worst(images, plan_of(images, views))


def blurs() -> tuple[float, float]:
    """Kernels from one tap to the widest that a reflected border allows, over several tiles."""
    image = [picture(20, 20)]
    views = [
        {"size_px": size, "kernel_px": taps, "sigma": sigma}
        for size, taps, sigma in ((12, 1, 2), (12, 3, 2), (12, 23, 9), (35, 23, 1.9), (35, 69, 30))
    ]
    return worst(image, plan_of(image, views))


def policies() -> dict[str, tuple[float, float]]:
    """Plans of every published policy, drawn."""
    images = [picture(24, 29, 1)]
    found = {}
    for name in policy_names():
        policy = load_policy(name)
        policy = policy.with_views((2, 2)[: len(policy.groups)], (20, 9)[: len(policy.groups)])
        plan = draw_plan(policy, np.zeros(1, int), np.zeros(1), np.array([(24, 29)]), seed=7)
        found[name] = worst(images, plan)
    return found


def busy() -> tuple[list[torch.Tensor], Plan]:
    """Three images with four views, every op on some of them."""
    images = [picture(11 + 3 * seed, 14, seed) for seed in range(3)]
    views = [{"size_px": 9, **OPS[name]} for name in ("contrast and blur", "colours", "nothing")]
    return images, plan_of(images, [*views, {"size_px": 10, **OPS["everything"]}])


def blocks() -> tuple[float, float]:
    """The blocks of rows that a GPU makes at once, smaller than those of the other checks."""
    image = [picture(20, 17)]
    views = [{"size_px": 34, **OPS["everything"]}, {"size_px": 9, **OPS["contrast and blur"]}]
    gpu_launch.INTERPRETED_ROWS = 4
    found = worst(image, plan_of(image, views))
    gpu_launch.INTERPRETED_ROWS = 32
    return found


def halves() -> dict[str, list[float]]:
    """Worst difference of 16-bit views from the reference, relative to max(1, value).

    Of the exact form, and of float16 between the steps.
    """
    images, plan = busy()
    found = {}
    for dtype in (torch.float16, torch.bfloat16):
        found[str(dtype)] = []
        for exact in (True, False):
            backend = FusedCudaBackend("cpu", dtype, exact=exact)
            crops = backend(images[:1], plan.rows(slice(0, 1)))
            ratios = [
                np.abs(view[0].float().numpy() - truth) / np.maximum(1, np.abs(truth))
                for group, crop in zip(plan.groups, crops, strict=True)
                for v, view in zip(group, crop, strict=True)
                for truth in (render(images[0].numpy(), plan, 0, v),)
            ]
            found[str(dtype)].append(float(np.max([ratio.max() for ratio in ratios])))
    return found


def batches() -> bool:
    """Whether a batch, its images one by one, and its pieces in little scratch are bit-equal."""
    images, plan = busy()
    backend = FusedCudaBackend("cpu", getattr(torch, DTYPE))
    whole = backend(images, plan)
    alone = [backend([images[b]], plan.rows(slice(b, b + 1))) for b in range(3)]
    fused_cuda.SCRATCH_BYTES = 1
    pieces = backend(images, plan)
    return all(
        torch.equal(crop, torch.cat([part[group] for part in alone], dim=1))
        and torch.equal(crop, pieces[group])
        for group, crop in enumerate(whole)
    )


def levels() -> dict[str, float]:
    """What holds exactly or nearly so: every level, black beside white, gray under colour ops."""
    every = guarded(np.arange(768).astype(np.uint8).reshape(16, 16, 3))
    box = np.full((14, 14, 3), 255, np.uint8)
    box[4:10, 4:10] = 0
    grays = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    (same,) = _plain([every], {"size_px": 16})
    (black,) = _plain([guarded(box)], {"window": (4, 4, 6, 6), "bicubic": True})
    (gray,) = _plain([guarded(grays)], {"size_px": 16, "hue": 0.37, "saturation": 1.7})
    step = torch.tensor([127, 128], dtype=torch.uint8).reshape(2, 1, 1).expand(2, 2, 3)
    solarized = [
        _plain([guarded(step.numpy())], {"size_px": 2, "solarize": 128 / 255, **other})[0]
        for other in ({}, {"contrast": 1.0000001})  # at once, and through the scratch
    ]
    return {
        "identity": float((same[0, 0] - every.permute(2, 0, 1) / 255).abs().max()),
        "black beside white": float(black.abs().max()),
        "tint of gray": float((gray - gray[:, :, :1]).abs().max()),
        "solarized": float(max((view[..., 0] * 255 - 127).abs().max() for view in solarized)),
    }


def _plain(images: Sequence[torch.Tensor], view: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """One view in [0, 1]."""
    plan = plan_of(images, [view])
    object.__setattr__(plan, "mean", (0.0,) * 3)
    object.__setattr__(plan, "std", (1.0,) * 3)
    return FusedCudaBackend("cpu")(images, plan)


def _poison() -> None:
    """From now on all that is handed out uninitialised is NaN, or no sensible number."""
    empty, grow = torch.empty, gpu_launch.Scratch.grow

    def poisoned(*shape: Any, **options: Any) -> torch.Tensor:
        tensor = empty(*shape, **options)
        return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor.fill_(77)

    def grown(scratch: gpu_launch.Scratch, needs: Any) -> None:
        grow(scratch, needs)
        scratch.pixels.fill_(255)  # -1, or NaN
        scratch.floats.fill_(torch.nan)

    torch.empty = poisoned
    gpu_launch.Scratch.grow = grown


CHECKS: tuple[Callable[[], Any], ...] = (
    *(ops, orders, shapes, windows, large, blurs, policies, blocks, halves, batches, levels),
)


def main(names: list[str]) -> None:
    """Run the checks of these names."""
    np.seterr(all="raise", under="ignore")
    _poison()
    found = {check.__name__: check() for check in CHECKS if check.__name__ in names}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
