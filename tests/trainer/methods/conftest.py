"""Toys for the methods' tests: a small backbone, and views of images that differ by a pattern."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from augengine.plan import NO_SOLARIZE, Plan
from augengine.views import Views
from trainer.nets.batchnorm import BatchNorm2d

MakeViews = Callable[..., Views]


def neutral_plan(batch_size: int, counts: tuple[int, ...], sizes: tuple[int, ...]) -> Plan:
    """A plan that does nothing: methods look at crops only."""
    shape, num_views = (batch_size, sum(counts)), sum(counts)
    ones, zeros = np.ones(shape), np.zeros(shape)
    return Plan(
        ids=np.arange(batch_size), epochs=np.zeros(batch_size), mean=(0, 0, 0), std=(1, 1, 1),
        image_sizes=np.full((batch_size, 2), 32), window=np.tile([0, 0, 32, 32], (*shape, 1)),
        flip=zeros, brightness=ones, contrast=ones, saturation=ones, hue=zeros, order=zeros,
        gray=zeros, sigma=zeros, solarize=np.full(shape, NO_SOLARIZE),
        group=np.repeat(range(len(counts)), counts), size_px=np.repeat(sizes, counts),
        kernel_px=np.full(num_views, 3), bicubic=np.zeros(num_views),
    )  # fmt: skip


@pytest.fixture
def make_views() -> MakeViews:
    """Views of `batch_size` images: each a fixed 4x4 pattern, resized, plus noise of the seed."""

    def make(
        counts: tuple[int, ...] = (2,), batch_size: int = 16, seed: int = 0, noise: float = 0.5
    ) -> Views:
        sizes = (8, 4)[: len(counts)]
        patterns = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(99))
        generator = torch.Generator().manual_seed(seed)
        crops = []
        for count, size in zip(counts, sizes, strict=True):
            image = nn.functional.interpolate(patterns[:batch_size], (size, size))
            rough = torch.randn(count, batch_size, 3, size, size, generator=generator)
            crops.append(image + noise * rough)
        labels = np.full(batch_size, -1, dtype=np.int32)
        plan = neutral_plan(batch_size, counts, sizes)
        return Views(tuple(crops), np.arange(batch_size), labels, plan)

    return make


class Tiny(nn.Module):
    """Two convolutions with batch norm; features of any crop size."""

    feature_dim = 16

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, 2, 1), BatchNorm2d(16), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x).mean((2, 3))


@pytest.fixture
def make_backbone() -> Callable[[], nn.Module]:
    """Tiny backbones, all with the same initial weights."""

    def make() -> nn.Module:
        torch.manual_seed(0)
        return Tiny()

    return make
