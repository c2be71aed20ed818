"""The most memory that a step holds, counted before the first one.

The very step of the loop runs on a copy of the method, and every storage is counted while it lives:
activations, gradients, optimizer state. Either a few images go through it, and the rest is told
from them, or all where they are few (`step_bytes_by_trial`); or all do on tensors that have shapes
and no values, which is exact but loads torch's compiler, seconds of a start (`step_bytes`). On
several ranks it is one rank's step in a world of one, whose losses meet no rows of the others.
"""

import copy
import inspect
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from augengine.draw import draw_plan
from augengine.views import Views
from shards.errors import UsageError
from trainer.banks.embedding_queue import EmbeddingQueue
from trainer.build import Parts
from trainer.methods.protocol import Method, Progress
from trainer.step import forward

# Tensors as large as the gradients that an optimizer keeps.
STATES = {"sgd": 1, "lars": 1, "larc": 1, "lars_tf": 1, "adamw": 2, "muon": 1}
# Activations of a pixel: a ResNet-50 with the small stem; others take less, small ViTs twice that.
MOST_PIXEL_BYTES = 16 * 1024
# Late in a run and in the midst of an epoch: nothing is frozen or warmed up, no bank is clustered.
_LATE = Progress(2_000_001, 4_000_000, steps_per_epoch=2.0)


def step_bytes(parts: Parts, num_images: int) -> int:
    """Bytes that a step of forwards of `num_images` holds at most beside the method's own.

    Raises:
        Exception: whatever a method does that asks for values (plug-ins may).
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # loads torch's compiler

    with _random_numbers_kept(parts), FakeTensorMode(allow_non_fake_inputs=True):
        return _peak(_shape_of(parts.method), parts, num_images) + _states(parts)


def step_bytes_by_trial(parts: Parts, num_images: int, most_bytes: int) -> int | None:
    """The same from two steps of a few images; None when even they could take `most_bytes`.

    What grows with the square of the batch is left out: scores of all pairs, which are small beside
    the activations of the images. A forward of a few images is its own trial.
    """
    few = _few_images(parts.method, num_images)
    pixels = sum(group.count * group.size_px**2 for group in parts.policy.groups)
    tensors = chain(parts.method.parameters(), parts.method.buffers())
    own = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    most = num_images if few is None else 2 * few
    if most * pixels * MOST_PIXEL_BYTES + 3 * own > most_bytes:
        return None
    with _random_numbers_kept(parts):
        if few is None:
            return _peak(copy.deepcopy(parts.method), parts, num_images) + _states(parts)
        one, two = (_peak(copy.deepcopy(parts.method), parts, n) for n in (few, 2 * few))
    return one + (two - one) * (num_images - few) // few + _states(parts)


def _few_images(method: Method, num_images: int) -> int | None:
    """A sixteenth of a forward or more, as the method takes it; None: more than half.

    Of fewer images the weights' part of a step could be the larger one.
    """
    few = max(2, num_images // 16)
    while 2 * few <= num_images:
        try:
            method.check_images(few)
        except UsageError:
            few *= 2
        else:
            return few
    return None


def _random_numbers_kept(parts: Parts) -> AbstractContextManager[None]:
    """A step sets torch's generators to its own numbers: those of before come back."""
    return torch.random.fork_rng([parts.device] if parts.device.type == "cuda" else [])


def _states(parts: Parts) -> int:
    trained = [p for p in parts.method.parameters() if p.requires_grad]
    gradients = sum(p.numel() * p.element_size() for p in trained)
    # One of one's own may keep anything: counted as the most that ours keep.
    return STATES.get(parts.config.optim.name, max(STATES.values())) * gradients


def _peak(method: Method, parts: Parts, num_images: int) -> int:
    """Of a step with a copy of the method; its queues count as full."""
    method.train()
    if _has_short_queue(method):
        with torch.no_grad():
            forward(method, parts, _views(parts, num_images), _LATE)
        _fill_queues(method)
    with _Living() as living:
        # With more parts the gradients of the first are there while the others are made.
        for _ in range(min(2, parts.config.loop.accumulate)):
            forward(method, parts, _views(parts, num_images), _LATE).loss.backward()
    return living.peak


def _shape_of(method: Method) -> Method:
    """A copy whose parameters and buffers are fake."""
    made: dict[int, object] = {}
    for tensor in chain(method.parameters(), method.buffers()):
        options: Any = {"dtype": tensor.dtype, "device": tensor.device}
        fake = torch.empty_strided(tensor.size(), tensor.stride(), **options)
        is_parameter = isinstance(tensor, nn.Parameter)
        made[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if is_parameter else fake
    return copy.deepcopy(method, made)


def _views(parts: Parts, num_images: int) -> Views:
    ids = np.arange(num_images) % len(parts.index)
    policy = parts.policy.without_backgrounds()
    plan = draw_plan(policy, ids, np.zeros_like(ids), parts.index.sizes(ids), 0)
    crops = tuple(
        torch.empty(
            (group.count * num_images, 3, group.size_px, group.size_px),
            dtype=getattr(parts.backend, "dtype", torch.float32),
            device=parts.device,
            memory_format=torch.channels_last,
        ).unflatten(0, (group.count, num_images))
        for group in parts.policy.groups
    )
    heavy = None if plan.heavy is None else crops[0][plan.heavy.source]
    return Views(crops, ids, parts.index.labels(ids), plan, heavy=heavy)


def _has_short_queue(method: Method) -> bool:
    queues = (m for m in method.modules() if isinstance(m, EmbeddingQueue))
    return any(queue.length and not queue.is_full for queue in queues)


def _fill_queues(method: Method) -> None:
    """Give queues, of which a step has said the other sizes, their final length."""
    for queue in method.modules():
        if isinstance(queue, EmbeddingQueue) and queue.length:
            *leading, _, dim = queue.rows.shape
            queue.rows = queue.rows.new_zeros((*leading, queue.length, dim))


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
        is_number = func is torch.ops.aten._local_scalar_dense.default
        if is_number and type(args[0]) is not torch.Tensor:  # a shape has no value
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


# torch wraps it for torch.compile, which would be loaded by the first call.
_Living.__torch_dispatch__ = inspect.unwrap(_Living.__torch_dispatch__)
