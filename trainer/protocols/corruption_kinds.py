"""The fifteen common corruptions of Hendrycks and Dietterich, through the library that keeps them.

`imagecorruptions-imaug` (Apache 2.0) has the kinds of ImageNet-C (1903.12261) with its five
severities, which were set by eye for 224 px; on 32 px the same numbers do much more, and CIFAR-10-C
has others. It takes images of 32 px a side and more. What it draws comes from numpy's global state,
so each image's draw is made to depend on the seed, the kind, the severity and the image alone.
"""

import zlib
from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from shards.errors import UsageError
from shards.plugins.optional_library import optional_library

LEAST_PX = 32
SEVERITIES = (1, 2, 3, 4, 5)
# By the paper's groups.
KINDS = MappingProxyType(
    {
        "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
        "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        "weather": ("snow", "frost", "fog", "brightness"),
        "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    }
)
_SEEDED_BY_ARGUMENT = ("impulse_noise", "glass_blur")
Corrupt = Callable[[np.ndarray, str, int, int, int], np.ndarray]


def corruption_library(size_px: int) -> Corrupt:
    """A function of (image [H, W, 3] uint8, kind, severity, seed, id) to such an image.

    Raises:
        UsageError: the library is not installed, or views of this side are too small for it.
    """
    if size_px < LEAST_PX:
        raise UsageError(
            f"common corruptions are of views of {LEAST_PX} px or more, got {size_px}; evaluate "
            "an encoder of larger views"
        )
    library = optional_library(
        "imagecorruptions", "--protocol corruptions", "'augengine[corruptions]'"
    )

    def corrupt(image: np.ndarray, kind: str, severity: int, seed: int, id: int) -> np.ndarray:
        draw = zlib.crc32(f"{seed} {kind} {severity} {id}".encode())
        state = np.random.get_state()  # noqa: NPY002 - the library knows no other generator
        np.random.seed(draw)  # noqa: NPY002
        try:
            own = {"seed": draw % 2**31} if kind in _SEEDED_BY_ARGUMENT else {}
            return library.corrupt(image, severity, kind, **own)
        finally:
            np.random.set_state(state)  # noqa: NPY002

    return corrupt
