"""Views with a real plan: a pattern an image, whose brightness is what the plan says."""

import numpy as np
import torch

from augengine.backends.heavy_views import heavy_views
from augengine.draw import draw_plan
from augengine.policy import CropGroup, Policy, ViewPolicy
from augengine.views import Views

VIEW = ViewPolicy(
    scale=(0.2, 1.0), jitter=0.8, brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1, blur=0.5
)
POLICY = Policy("all", (CropGroup(2, 8, (VIEW,)), CropGroup(1, 4, (VIEW,))))


def make_views(policy: Policy = POLICY, batch_size: int = 8, seed: int = 0) -> Views:
    """The same images for every seed, other views of them."""
    ids = np.arange(batch_size)
    sizes = np.stack([40 + ids % 20, 60 - ids % 20], 1)
    plan = draw_plan(policy, ids, ids * 0, sizes, seed)
    images = torch.randn(batch_size, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    noise = torch.Generator().manual_seed(seed)
    crops, first = [], 0
    for group in policy.groups:
        size, columns = group.size_px, slice(first, first + group.count)
        factor = torch.from_numpy(plan.brightness[:, columns].T.copy())[:, :, None, None, None]
        rough = torch.randn(group.count, batch_size, 3, size, size, generator=noise)
        crops.append((1 + images[..., :size, :size]) * factor + 0.1 * rough)
        first += group.count
    heavy = heavy_views(crops, plan)
    return Views(tuple(crops), ids, np.full(batch_size, -1, np.int32), plan, heavy=heavy)
