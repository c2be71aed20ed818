"""What a run will hold in memory, weighed before its first step; one that cannot fit is refused.

The very step of the loop runs once on a copy of the method whose tensors have shapes and no values,
and every storage is counted while it lives: activations, gradients, optimizer state. Then come the
views made ahead and the cache. Left out are what libraries keep for themselves (threads' stacks,
workspaces of convolutions, room that an allocator does not give back) and evaluations.
"""

import copy
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from augengine.draw import draw_plan
from augengine.freememory import free_host_bytes
from augengine.views import Views
from shards.bytesize import show_size
from shards.errors import UsageError
from trainer.accumulate import check_batch
from trainer.build import Parts
from trainer.distributed import on_first, world_size
from trainer.embedding_queue import EmbeddingQueue
from trainer.methods.protocol import Progress
from trainer.optim.build import build_optimizer
from trainer.sharedcache import Neighbours
from trainer.step import optimizer_step

# What was measured lay between 0.8 and 1.3 of what is told here (docs/performance.md).
MARGIN = 1.3
# Late in a run and in the midst of an epoch: nothing is frozen or warmed up, no bank is clustered.
_LATE = Progress(2_000_001, 4_000_000, steps_per_epoch=2.0)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a process, or all that share a machine's memory, will hold."""

    weights: int  # the method as it is now: parameters, teacher, queue, bank
    step: int  # the most that a step adds
    views: int  # made ahead, and the images that they are made of
    cache: int
    free: int | None  # now, beside the weights; None: the system does not say

    @property
    def to_come(self) -> int:
        """Beside the weights, which are there."""
        return self.step + self.views + self.cache

    @property
    def is_too_large(self) -> bool:
        """Whether it does not fit by more than the estimate was ever wrong."""
        return self.free is not None and self.to_come > MARGIN * self.free

    def __str__(self) -> str:
        parts = {"weights": self.weights, "a step": self.step, "views": self.views}
        parts |= {"cache": self.cache} if self.cache else {}
        sizes = ", ".join(f"{name} {show_size(size)}" for name, size in parts.items())
        free = "how much is free is not known"
        if self.free is not None:
            free = f"{show_size(self.free + self.weights)} are free for it"
        return f"memory: about {show_size(self.weights + self.to_come)} ({sizes}); {free}"
