"""Features of a frozen encoder, or raw pixels: what kNN and the linear probe look at.

The views are those of `CenterSquare`: every image once, its centre square, normalised. The encoder
runs in eval mode (running BatchNorm statistics) and is left as it was.

Legend: N images, C channels, S view side, D feature width.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn
from torch.nn import functional as F

from augengine.views import Views

CALIBRATION_BATCHES = 8
RAW_PX = 16  # side of the raw pixels: 768 numbers, about as many as an encoder gives


@dataclass(frozen=True, slots=True)
class Features:
    """Features with their classes."""

    values: torch.Tensor  # [N, D] float32
    labels: torch.Tensor  # [N] int64

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.labels.shape != self.values.shape[:1]:
            raise ValueError(
                f"features are [N, D] with [N] labels, got {tuple(self.values.shape)} and "
                f"{tuple(self.labels.shape)}"
            )


def extract(
    encode: Callable[[torch.Tensor], torch.Tensor],  # [N, C, S, S] -> [N, D]
    views: Iterable[Views],
    device: torch.device,
) -> Features:
    """Run `encode` over the first view of every image; wrap it in `frozen` when it is a module.

    Of no views there are no features, of width 0.
    """
    values, labels = [], []
    with torch.no_grad():
        for batch in views:
            images = batch.crops[0][0].to(device)
            values.append(encode(images).float())
            labels.append(torch.from_numpy(batch.labels).long())
    if not values:
        return Features(
            torch.zeros(0, 0, device=device), torch.zeros(0, dtype=torch.int64).to(device)
        )
    return Features(torch.cat(values), torch.cat(labels).to(device))


def describe_raw_pixels(size_px: int) -> str:
    """The features that raw pixels of views of this side are."""
    return f"means of {RAW_PX} x {RAW_PX} equal parts" if size_px > RAW_PX else "all of them"


def raw_pixels(images: torch.Tensor) -> torch.Tensor:
    """The baseline that learned nothing: normalised pixels [N, C, S, S] as features [N, C*P*P].

    P is S, or 16 where S is more: each number is then the mean of an equal part of the image, so
    that a baseline costs no more than what stands beside it. At 224 px all pixels of 10,000 images
    are 6 GB, and a linear map of them to 100 classes has 15 million weights.
    """
    if images.shape[-1] > RAW_PX:
        images = F.adaptive_avg_pool2d(images, RAW_PX)
    return images.flatten(1)


@contextmanager
def frozen(module: nn.Module) -> Iterator[nn.Module]:
    """Hold the module in eval mode; every submodule gets its own mode back."""
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        yield module
    finally:
        for child, training in modes.items():
            child.training = training


def calibrated(backbone: nn.Module, views: Iterable[Views], device: torch.device) -> nn.Module:
    """A copy whose BatchNorm statistics are those of a few batches of the data.

    An untrained encoder's running statistics are 0 and 1, which no activations have; without this
    the random baseline would look worse than it is.
    """
    copied = copy.deepcopy(backbone).train()
    for module in copied.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a plain average over the batches
    with torch.no_grad():
        for batch in islice(views, CALIBRATION_BATCHES):
            copied(batch.crops[0][0].to(device))
    return copied.eval()
