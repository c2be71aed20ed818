"""Views of images that are in memory: no shards, no loader, one call.

    views = augengine.make_views(images, "simclr", ids=ids, epoch=3)
    first, second = views.crops[0]

For a `DataLoader` of one's own, or a look at a policy. The views of an image are those that a
loader of shards makes under its id, seed and epoch; bit for bit where its pixels are the same.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augengine.backends.backend import Backend
from augengine.backends.heavy_views import heavy_views
from augengine.devices.streams import upload
from augengine.draw import draw_plan
from augengine.loader.arguments import whole
from augengine.loader.engine import choose_backend
from augengine.loader.open_views import Counts, choose_policy
from augengine.policy import Policy
from augengine.views import Views
from shards.errors import UsageError
from shards.format import NO_LABEL

_ARRAY = ("__array__", "__array_interface__")  # what numpy reads; Pillow's images have the latter


def make_views(
    images: Sequence[Any] | np.ndarray | torch.Tensor,  # B of [H, W, 3] uint8; sizes may differ
    policy: str | Path | Policy,
    *,
    views: Counts | None = None,
    sizes: Counts | None = None,
    ids: Sequence[int] | np.ndarray | None = None,  # [B]; None: 0, 1, ...
    epoch: int = 0,
    seed: int = 0,
    backend: Backend | str = "auto",
    device: torch.device | str | None = None,
) -> Views:
    """The views of some images, in their order; without labels.

    What is drawn for an image depends on (seed, epoch, id) alone. So give the images' numbers in
    their data set as `ids` when they are a part of it, and count `epoch` up: or every batch is
    cropped and coloured alike.

    Args:
        images: arrays, tensors or Pillow images; one array or tensor [B, H, W, 3] is B of them.
        policy: a published policy's name, a YAML file, or a policy.
        views: how many of each crop group, such as "2+6"; None: the policy's own.
        sizes: their sides in pixels, such as "224+96"; None: the policy's own.
        ids: the images' numbers, not negative.
        epoch: how often they have been seen before.
        seed: of the draws.
        backend: who makes the views: a name, or one object for many calls (create_backend).
        device: where, for a name; None: where the images lie, or else a GPU where there is one.

    Raises:
        UsageError: what cannot be, with what to write instead.
    """
    pixels = [_pixels(image, number) for number, image in enumerate(_listed(images))]
    chosen = choose_policy(policy, views, sizes)
    # As many threads as torch's own operations take; in a worker of a DataLoader that is one.
    first = pixels[0] if pixels[0].is_cuda else None
    maker = choose_backend(backend, device, torch.get_num_threads(), beside=first)
    numbers = _numbers(ids, len(pixels))
    epoch = whole("epoch", epoch)
    if not 0 <= epoch < 1 << 32:
        raise UsageError(f"epoch lies in [0, 2^32), got {epoch}; count from 0")
    epochs = np.full(len(pixels), epoch)
    shapes = np.array([image.shape[:2] for image in pixels])
    plan = draw_plan(chosen, numbers, epochs, shapes, whole("seed", seed))
    crops = maker([_moved(image, maker.device) for image in pixels], plan)
    labels = np.full(len(pixels), NO_LABEL, np.int32)
    return Views(crops, plan.ids, labels, plan, heavy=heavy_views(crops, plan))


def _listed(images: Any) -> list[Any]:
    is_batch = isinstance(images, np.ndarray | torch.Tensor) and images.ndim == 4
    if not is_batch and not isinstance(images, list | tuple):
        got = _described(images)
        raise UsageError(f"images are a list, or one array [B, H, W, 3], got {got}; write [image]")
    if not len(images):
        raise UsageError("views are made of at least one image, got none; give a list of images")
    return list(images)


def _pixels(image: Any, number: int) -> torch.Tensor:
    """[H, W, 3] uint8, contiguous."""
    is_tensor = isinstance(image, torch.Tensor)
    if not is_tensor and any(hasattr(image, name) for name in _ARRAY):
        # Torch takes no memory that runs backwards, and warns of what may not be written to.
        image = np.require(image, requirements=["C", "W"])
    shape = tuple(getattr(image, "shape", ()))
    is_image = len(shape) == 3 and shape[2] == 3 and 0 not in shape
    if not is_image or image.dtype not in (torch.uint8, np.uint8):
        raise UsageError(
            f"an image is [height, width, 3] uint8, upright RGB, got {_described(image)} for image "
            f"{number}; convert it, as by .permute(1, 2, 0), .mul(255).byte() or .convert('RGB')"
        )
    return image.contiguous() if is_tensor else torch.from_numpy(image)


def _moved(image: torch.Tensor, device: torch.device) -> torch.Tensor:
    if image.device == device:
        return image
    return upload(image, device) if image.device.type == "cpu" else image.to(device)


def _numbers(ids: Sequence[int] | np.ndarray | None, count: int) -> np.ndarray:
    """[B] int64."""
    if ids is None:
        return np.arange(count)
    numbers = np.asarray(ids)
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
        raise UsageError(
            f"ids are {count} whole numbers, one an image, got {_described(numbers)}; leave them "
            "out to count from 0"
        )
    if not (numbers.min() >= 0 and int(numbers.max()) < 2**63):
        odd = numbers.max() if numbers.min() >= 0 else numbers.min()
        raise UsageError(f"ids lie in [0, 2^63), got {odd}; count from 0")
    return numbers


def _described(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", "")
    if shape is None:
        return type(value).__name__
    return f"{list(shape)} {str(dtype).removeprefix('torch.')}"
