"""The one check every backend makes first: these images are the ones the plan was drawn for."""

from collections.abc import Sequence

import torch

from augengine.plan import Plan


def check_inputs(images: Sequence[torch.Tensor], plan: Plan, device: torch.device) -> None:
    """Raise ValueError unless the images are the plan's (count, sizes, type) on this device."""
    if len(images) != plan.batch_size:
        raise ValueError(f"the plan has {plan.batch_size} images, got {len(images)}")
    for b, image in enumerate(images):
        height, width = plan.image_sizes[b].tolist()
        if image.dtype != torch.uint8 or tuple(image.shape) != (height, width, 3):
            raise ValueError(
                f"image {b} of the plan is [{height}, {width}, 3] uint8, got {image.dtype} "
                f"{list(image.shape)}; pass the upright image the plan was drawn for"
            )
        if image.device.type != device.type:
            raise ValueError(f"images lie on the backend's {device.type}, got {image.device}")
