"""Counts what a step asks of a device: operators, bytes that they read and write, collectives.

    with Count() as count:
        step()
    count.operators, count.bytes, count.collectives

Counted where torch hands operators to a device, so backward and optimizer are in it, and it works
on `meta` tensors, which have no numbers. An operator's bytes are those of its inputs and of what it
writes; what it reads twice inside counts once. Views and allocations are none, an operator over a
list of tensors is one, though a device may take a launch for each of them.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_NO_WORK = {
    "aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::detach",
    "aten::new_empty_strided", "aten::_unsafe_view", "aten::lift_fresh", "aten::set_",
    "aten::_local_scalar_dense", "aten::resize_", "aten::is_same_size",
}  # fmt: skip
# It takes the layer's input for its type alone.
_READS_LITTLE = {"aten::batch_norm_gather_stats_with_counts"}


class Count(TorchDispatchMode):
    """The operators of the body, since it was entered first."""

    def __init__(self, least: int = 0) -> None:
        """Only tensors of at least so many elements count as bytes."""
        super().__init__()
        self._least = least
        self.bytes = 0
        self.by_name: Counter[str] = Counter()  # operators
        self.collectives: Counter[str] = Counter()  # how often, by name
        self.collective_bytes: Counter[str] = Counter()  # of one rank's inputs, by name

    @property
    def operators(self) -> int:
        """All that did some work."""
        return self.by_name.total()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        results = func(*args, **kwargs)
        schema = func._schema
        if func.namespace == "c10d":
            name, given = schema.name.partition("::")[2].rstrip("_"), tuple(_tensors(args))
            self.collectives[name] += 1
            self.collective_bytes[name] += _sent(name, given)
        elif not func.is_view and schema.name not in _NO_WORK:
            self.by_name[schema.name.partition("::")[2]] += 1
            # What is changed in place is an input, and comes back as a result.
            read = list(args[schema.name in _READS_LITTLE :])
            read += [value for key, value in kwargs.items() if not key.startswith("out")]
            written = results if schema.returns else args[:1]
            sizes = (_bytes(x) for x in _tensors([read, written]) if x.numel() >= self._least)
            self.bytes += sum(sizes)
        return results


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _bytes(x: torch.Tensor) -> int:
    """Of what it holds: a tensor that is one row many times has the bytes of the row."""
    return min(x.nbytes, x.untyped_storage().nbytes())


def _sent(name: str, given: tuple[torch.Tensor, ...]) -> int:
    """Bytes of what one rank gives; gathers come as (output, input), scatters likewise."""
    if not given:
        return 0
    return given[-1].nbytes if "gather" in name or "scatter" in name else sum(map(_bytes, given))
