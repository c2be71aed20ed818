"""Finds NaN and infinity in many tensors at once, without waiting for the device.

One bad gradient makes weights that no later step mends, and a checkpoint of them is lost time. So
every step's state is looked at, and so is every checkpoint that is read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.nn.utils import get_total_norm


def largest_magnitude(state: Any) -> torch.Tensor:
    """The largest absolute value of all floating-point tensors in nested mappings and lists.

    NaN where one of them holds NaN, infinity where one holds an infinity; 0 without tensors. The
    tensors lie on one device, where the [] float32 result stays.
    """
    tensors = [tensor.detach() for _, tensor in _floats(state)]
    return get_total_norm(tensors, float("inf")).float()


def not_finite(state: Any) -> list[str]:
    """The dotted names of the tensors in `state` that hold NaN or an infinity; waits for each."""
    return [name for name, tensor in _floats(state) if not bool(tensor.isfinite().all())]


def _floats(state: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every floating-point tensor that has values, with its dotted name."""
    if isinstance(state, torch.Tensor):
        if state.is_floating_point() and state.numel():
            yield name, state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from _floats(value, f"{name}.{key}" if name else str(key))
    elif isinstance(state, (list, tuple)):
        for i, value in enumerate(state):
            yield from _floats(value, f"{name}.{i}")
