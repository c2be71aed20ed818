"""An encoder as it is handed on: the network, and how to make images into what it takes.

`load_encoder.py` gives one for a run, an exported file, a model of timm or anybody's module.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn

from augengine.loader.center_plan import center_plan
from augengine.plan import MAX_SIZE_PX
from augengine.policy import IMAGENET_MEAN, IMAGENET_STD
from augengine.reference import render
from shards.errors import UsageError
from trainer.checks import require

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """From images of any size to views: the centre square, resized, normalised."""

    size_px: int  # side of a view
    mean: Colour = IMAGENET_MEAN
    std: Colour = IMAGENET_STD
    fraction: float = 1.0  # side of the centre square over the image's shorter side

    def __post_init__(self) -> None:
        rule = f"an encoder's views have 1 to {MAX_SIZE_PX} pixels a side"
        require(1 <= self.size_px <= MAX_SIZE_PX, rule, self.size_px, "give another size_px")
        rule = "a centre square's share of the shorter side lies in (0, 1]"
        require(0 < self.fraction <= 1, rule, self.fraction, "give another")
        colours = (*self.mean, *self.std)
        is_plain = len(self.mean) == len(self.std) == 3 and bool(np.isfinite(colours).all())
        rule = "mean and std are three numbers each, std's are positive"
        require(is_plain and min(self.std) > 0, rule, colours, "take those it was trained with")

    def __call__(self, images: Iterable[Image.Image | np.ndarray]) -> torch.Tensor:
        """Views [N, 3, S, S] float32 of PIL images or upright RGB arrays [H, W, 3] uint8.

        These are the views that `trainer.evaluate` and `trainer.embed` make.
        """
        views = [torch.from_numpy(self._view(_pixels(image))) for image in images]
        return torch.stack(views) if views else torch.empty(0, 3, self.size_px, self.size_px)

    def _view(self, pixels: np.ndarray) -> np.ndarray:
        sizes = np.array([pixels.shape[:2]])
        looks = (self.mean, self.std)
        plan = center_plan(np.zeros(1), sizes, self.size_px, *looks, fraction=self.fraction)
        return render(pixels, plan, 0, 0)

    def __str__(self) -> str:
        centre = f", centre {self.fraction:g}" if self.fraction < 1 else ""
        mean, std = (", ".join(f"{x:g}" for x in colour) for colour in (self.mean, self.std))
        return f"{self.size_px} px{centre}, (x / 255 - mean) / std, mean ({mean}), std ({std})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A network in eval mode on the CPU, and what makes its views."""

    name: str  # what it is, for people: a run's folder and step, a file, timm:NAME
    module: nn.Module  # images [N, 3, S, S] -> features [N, D]
    preprocessing: Preprocessing
    feature_dim: int
    # How to build it, as an exported file has it; empty for what is not ours.
    metadata: Mapping[str, str] = field(default_factory=dict)

    @torch.no_grad()
    def __call__(self, images: Iterable[Image.Image | np.ndarray]) -> torch.Tensor:
        """Features [N, D] float32 of images of any size, made into views first."""
        parameter = next(self.module.parameters(), torch.empty(0))
        return self.module(self.preprocessing(images).to(parameter.device)).float()

    def digest(self) -> str:
        """SHA-256 of its weights and buffers: equal for equal encoders, wherever they lie."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            plain = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {plain.dtype} {list(plain.shape)}\n".encode())
            digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def _pixels(image: Image.Image | np.ndarray) -> np.ndarray:
    """Upright RGB [H, W, 3] uint8."""
    if isinstance(image, Image.Image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    is_rgb = isinstance(image, np.ndarray) and image.dtype == np.uint8
    if not (is_rgb and image.ndim == 3 and image.shape[2] == 3 and image.size):
        found = type(image).__name__
        if isinstance(image, np.ndarray):
            found = f"{image.dtype} of shape {list(image.shape)}"
        raise UsageError(
            f"an image is one of PIL or an RGB array [H, W, 3] of uint8, got {found}; open files "
            "with PIL.Image.open"
        )
    return image
