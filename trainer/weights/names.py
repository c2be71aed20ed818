"""Names of tensors in other people's files: nested mappings flattened, wrappers taken off.

A checkpoint is a mapping of mappings; a name here is the whole way to a tensor, with dots. What
only says how somebody saved it (`state_dict`, `model` at the front, DDP's `module` anywhere) is
left out, so that one layout is one name.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from shards.errors import DataError

_FRONT = ("state_dict", "model", "model_state_dict", "module")
_ANYWHERE = ("module", "_orig_mod")  # of DDP and of torch.compile
_DEEPEST = 6  # mappings in mappings


def plain_names(state: Any, where: str) -> dict[str, torch.Tensor]:
    """Every tensor of a file by its name without wrappers; DataError where two have one name."""
    tensors: dict[str, torch.Tensor] = {}
    for name, value in _leaves(state):
        plain = _without_wrappers(name)
        if plain in tensors:
            raise DataError(
                f"weights hold one tensor a name, got two for {plain} in {where}, one of them "
                f"{name}; save the encoder's state dict alone"
            )
        tensors[plain] = value
    return tensors


def joined(place: str, name: str) -> str:
    """The name of a tensor at a place, "" being the top."""
    return f"{place}.{name}" if place else name


def part_of(tensors: Mapping[str, torch.Tensor], place: str) -> dict[str, torch.Tensor]:
    """The tensors at a place, by their names from there on."""
    prefix = joined(place, "")
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def has_start(names: Iterable[str], start: str) -> bool:
    """Whether a name is `start` or goes on after it with a dot."""
    return any(name == start or name.startswith(f"{start}.") for name in names)


def _leaves(state: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    if not isinstance(state, Mapping) or depth > _DEEPEST:
        return
    for key, value in state.items():
        # An optimizer's state has numbers for keys.
        if not isinstance(key, str):
            continue
        if isinstance(value, torch.Tensor):
            yield joined(name, key), value
        else:
            yield from _leaves(value, joined(name, key), depth + 1)


def _without_wrappers(name: str) -> str:
    words = name.split(".")
    while len(words) > 1 and words[0] in _FRONT:
        words = words[1:]
    return ".".join([word for word in words if word not in _ANYWHERE] or words)
