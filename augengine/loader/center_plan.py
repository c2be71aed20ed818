"""The plan of evaluation: each image's centre square, resized and normalised, nothing drawn.

One plain view of an image from any backend. Resize to 256 then crop 224, as ImageNet evaluation
does, is `fraction=224 / 256` here, in one resize.
"""

from dataclasses import dataclass

import numpy as np

from augengine.loader.arguments import whole
from augengine.plan import NO_SOLARIZE, Plan
from augengine.policy import IMAGENET_MEAN, IMAGENET_STD
from shards.errors import UsageError

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class CenterSquare:
    """The rule of most evaluations, for `iter_listed_views`: the same square in every epoch."""

    size_px: int  # side of a view
    mean: Colour = IMAGENET_MEAN
    std: Colour = IMAGENET_STD
    fraction: float = 1.0  # side of the square over the image's shorter side

    def __post_init__(self) -> None:
        whole("size_px", self.size_px)

    def __call__(self, ids: np.ndarray, epochs: np.ndarray, image_sizes: np.ndarray) -> Plan:
        """The plan of these images."""
        looks = (self.mean, self.std)
        return center_plan(ids, image_sizes, self.size_px, *looks, fraction=self.fraction)


def center_plan(
    ids: np.ndarray,  # [B] int - sample ids
    image_sizes: np.ndarray,  # [B, 2] int - height, width of the upright images
    size_px: int,
    mean: Colour = IMAGENET_MEAN,
    std: Colour = IMAGENET_STD,
    *,
    fraction: float = 1.0,
) -> Plan:
    """One view an image: the centre square of side `fraction * min(height, width)`, epoch 0.

    The side is rounded to whole pixels (at least 1); where the margin is odd, the spare pixel is on
    the right and at the bottom. Raises UsageError for a fraction outside (0, 1] or a size below 1.
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"the centre's fraction lies in (0, 1], got {fraction}")
    if size_px < 1:
        raise UsageError(f"a crop size is at least 1 pixel, got {size_px}")
    num_images = len(ids)
    sizes = np.asarray(image_sizes, dtype=np.int32).reshape(num_images, 2)
    sides = np.maximum(1, np.rint(fraction * sizes.min(axis=1))).astype(np.int32)  # [B]
    corners = (sizes - sides[:, None]) // 2  # [B, 2] top, left
    windows = np.column_stack([corners, sides, sides])[:, None, :]  # [B, 1, 4]

    def filled(value: float) -> np.ndarray:
        return np.full((num_images, 1), value)

    return Plan(
        ids=np.asarray(ids),
        epochs=np.zeros(num_images),
        image_sizes=sizes,
        window=windows,
        flip=filled(0),
        brightness=filled(1),
        contrast=filled(1),
        saturation=filled(1),
        hue=filled(0),
        order=filled(0),
        gray=filled(0),
        sigma=filled(0),
        solarize=filled(NO_SOLARIZE),
        group=np.zeros(1),
        size_px=np.array([size_px]),
        kernel_px=np.ones(1),
        bicubic=np.zeros(1),
        mean=mean,
        std=std,
    )
