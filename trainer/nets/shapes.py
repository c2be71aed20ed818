"""A network's shapes without its values, on torch's meta device: to weigh it, or to fill it later.

No value is computed. torch would do that on the shapes alone by reference code, which imports
torch's compiler: more than a second and 146 MB (torch 2.13) for nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from trainer.losses.cosine import unit_rows


@contextmanager
def shapes_only() -> Iterator[None]:
    """Tensors made in the body have a shape and no memory."""
    with torch.device("meta"), _Unfilled():
        yield


def random_unit_rows(*shape: int) -> torch.Tensor:
    """[*shape] float32 random rows of length 1, or a shape like theirs inside of `shapes_only`."""
    rows = torch.empty(shape)
    return rows if rows.is_meta else unit_rows(rows.normal_())  # the numbers of torch.randn


class _Unfilled(TorchFunctionMode):
    """Leaves out what fills a tensor with its first values."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func is torch.Tensor.normal_:
            return args[0]
        return func(*args, **kwargs)
