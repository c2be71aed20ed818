"""The interface of a backend: it carries a plan out, and draws nothing.

All backends give the same picture from the same plan, within the bounds of tests/tolerances.py
against `augengine.reference`. A backend of one's own ends with `turning.turn_views`, or carries out
the plan's `vflip` and `quarter_turns` itself; otherwise no view is turned, and nobody is told.
Heavy views are no backend's business: `heavy_views` makes them of what any backend has made.
"""

from collections.abc import Sequence
from typing import Protocol

import torch

from augengine.plan import Plan


class Backend(Protocol):
    """Executes plans on one device; may keep buffers between calls, never randomness."""

    name: str
    device: torch.device
    dtype: torch.dtype

    def __call__(
        self,
        images: Sequence[torch.Tensor],  # B tensors [H, W, 3] uint8 on `device` - upright RGB
        plan: Plan,  # of the same B images; H and W equal plan.image_sizes
    ) -> tuple[torch.Tensor, ...]:
        """One [V, B, C, S, S] tensor of `dtype` a crop group; `flatten(0, 1)` is channels_last."""
        ...
