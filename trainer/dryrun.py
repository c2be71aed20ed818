"""The most memory that a step holds, from a step that computes nothing.

The very step of the loop runs on a copy of the method whose tensors have shapes and no values, and
every storage is counted while it lives: activations, gradients, optimizer state. On several ranks
it is one rank's step in a world of one, whose losses meet no rows of the others.
"""

import copy
import weakref
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from augengine.draw import draw_plan
from augengine.views import Views
from trainer.build import Parts
from trainer.embedding_queue import EmbeddingQueue
from trainer.methods.protocol import Method, Progress
from trainer.optim.build import build_optimizer
from trainer.step import optimizer_step

# Late in a run and in the midst of an epoch: nothing is frozen or warmed up, no bank is clustered.
_LATE = Progress(2_000_001, 4_000_000, steps_per_epoch=2.0)


def step_bytes(parts: Parts, num_images: int) -> int:
    """Bytes that a step of forwards of `num_images` holds at most beside the method's own.

    Raises:
        Exception: whatever a method does that asks for values (plug-ins may).
    """
    # A method's numbers that are read back, in place of values that are not there, are 1.
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        with FakeCopyMode(fake):
            method = copy.deepcopy(parts.method)
        method.train()
        loop = parts.config.loop
        optimizer = build_optimizer(method, parts.config.optim, loop.batch_size)
        copied = replace(parts, method=method, optimizer=optimizer)
        peak = _step(copied, num_images)
        if not _fill_queues(method):
            return peak + _state_bytes(optimizer)
        optimizer.zero_grad(set_to_none=True)
        return _step(copied, num_images) + _state_bytes(optimizer)


def _step(parts: Parts, num_images: int) -> int:
    """The most that the storages made in one step hold."""
    with _Living() as living:
        views = (_views(parts, num_images) for _ in range(parts.config.loop.accumulate))
        result = optimizer_step(parts.method, parts, views, _LATE)
        del result
    return living.peak


def _views(parts: Parts, num_images: int) -> Views:
    ids = np.arange(num_images) % len(parts.index)
    plan = draw_plan(parts.policy, ids, np.zeros_like(ids), parts.index.sizes(ids), 0)
    crops = tuple(
        torch.empty(
            (group.count * num_images, 3, group.size_px, group.size_px),
            dtype=getattr(parts.backend, "dtype", torch.float32),
            device=parts.device,
            memory_format=torch.channels_last,
        ).unflatten(0, (group.count, num_images))
        for group in parts.policy.groups
    )
    return Views(crops, ids, parts.index.labels(ids), plan)


def _fill_queues(method: Method) -> bool:
    """Give queues their final length; whether any had not got it."""
    short = [m for m in method.modules() if isinstance(m, EmbeddingQueue) and not m.is_full]
    for queue in short:
        *leading, _, dim = queue.rows.shape
        queue.rows = queue.rows.new_empty((*leading, queue.length, dim))
    return any(queue.length for queue in short)


def _state_bytes(optimizer: torch.optim.Optimizer) -> int:
    tensors = chain.from_iterable(state.values() for state in optimizer.state.values())
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))


class _Living(TorchDispatchMode):
    """Adds up the storages that operators make, until nobody holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1 if not args[0].is_floating_point() else 1.0
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self._now -= self._sizes.pop(key)
