"""The memory that a run will hold, beside what is free, told before its first step.

A step (dryrun.py), the views made ahead of it and the images they are made of, and the cache. What
libraries keep for themselves comes on top: threads' stacks, workspaces of convolutions, room that
an allocator does not give back. So a run that needs more than is free is refused, and one that
needs nearly as much is warned about.
"""

from dataclasses import dataclass, replace

import torch

from augengine.caches.sample_cache import EncodedCache
from augengine.devices.free_memory import free_host_bytes
from shards.errors import UsageError
from shards.terminal.bytesize import show_size
from trainer.build import Parts
from trainer.distributed import on_first, world_size
from trainer.setup.accumulate import check_batch
from trainer.setup.decoding import mean_decoded_bytes
from trainer.setup.sharedcache import Neighbours
from trainer.watch.dryrun import step_bytes, step_bytes_by_trial

# Six runs on a CPU (ResNets and ViTs, 2 and 2+6 views, batches of 32 to 512) held 1.08 to 1.43
# times what is counted here (docs/log.md); never less.
MOST_HELD = 1.45


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that one process will hold, and those that it may."""

    weights: int  # the method as it is now: parameters, teacher, queue, bank
    step: int  # the most that a step adds
    views: int  # ahead of it, and the images that they are made of
    cache: int
    free: int | None  # now, beside the weights; None: the system does not say

    @property
    def to_come(self) -> int:
        """Beside the weights, which are there."""
        return self.step + self.views + self.cache

    @property
    def is_too_large(self) -> bool:
        """Whether it will not fit."""
        return self.free is not None and self.to_come > self.free

    @property
    def surely_fits(self) -> bool:
        """Whether it will fit with all that libraries were ever seen to add."""
        return self.free is not None and MOST_HELD * self.to_come <= self.free

    def describe(self) -> str:
        """A line for the header of a run."""
        room = "the system does not say how much is free"
        if self.free is not None:
            room = f"{show_size(self.free + self.weights)} free"
        tight = "" if self.surely_fits or self.free is None else ": it may not fit"
        return f"memory: {self.expected}, {room}{tight}"

    @property
    def expected(self) -> str:
        """The total, and its parts."""
        least = self.weights + self.to_come
        most = self.weights + MOST_HELD * self.to_come
        sizes = {"weights": self.weights, "a step": self.step, "views": self.views}
        sizes |= {"cache": self.cache} if self.cache else {}
        terms = " + ".join(f"{name} {show_size(size)}" for name, size in sizes.items())
        return f"about {show_size(least)} to {show_size(most)} ({terms} + what libraries keep)"


def weigh(parts: Parts) -> Footprint | str:
    """The memory that a process of a run will hold, or why it is unknown; every rank calls it.

    Raises:
        UsageError: it clearly does not fit.
    """
    # Processes of a machine share what the host has; a GPU is one process's own.
    neighbours = len(Neighbours()) if parts.device.type == "cpu" else 1
    world = world_size()
    return on_first(lambda: _weigh(parts, world, neighbours))


def _weigh(parts: Parts, world: int, neighbours: int) -> Footprint | str:
    images = parts.config.loop.images_per_forward // world
    try:
        step = step_bytes_by_trial(parts, images, (_free(parts) or 0) // (4 * neighbours))
        if step is not None:
            found = _footprint(parts, step, world, neighbours)
            if found.free is not None and 2 * MOST_HELD * found.to_come <= found.free:
                return found
        step = step_bytes(parts, images)
    except Exception as error:  # of a method or an encoder of others, which may ask for values
        reason = " ".join(str(error).split())[:100]
        return f"memory: cannot be told before the run ({type(error).__name__}: {reason})"
    found = _footprint(parts, step, world, neighbours)
    if found.is_too_large:
        assert found.free is not None
        raise UsageError(
            f"a run fits into memory, got --batch-size {parts.config.loop.batch_size}, which needs "
            f"{found.expected} of {show_size(found.free + found.weights)} that are free"
            f"{f' for each of {neighbours} processes' if neighbours > 1 else ''}; "
            f"{_remedy(parts, world, neighbours)}"
        )
    return found


def _footprint(parts: Parts, step: int, world: int, neighbours: int) -> Footprint:
    images = parts.config.loop.images_per_forward // world
    tensors = [*parts.method.parameters(), *parts.method.buffers()]
    if world > 1:  # gradients once more, in the buckets that ranks exchange
        step += sum(_size(p) for p in parts.method.parameters() if p.requires_grad)
    free = _free(parts)
    return Footprint(
        weights=sum(map(_size, tensors)),
        step=step,
        views=_views_bytes(parts, images),
        cache=_cache_bytes(parts, neighbours),
        free=None if free is None else free // neighbours,
    )


def _free(parts: Parts) -> int | None:
    if parts.device.type == "cuda":
        return torch.cuda.mem_get_info(parts.device)[0]
    return free_host_bytes()


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _views_bytes(parts: Parts, images: int) -> int:
    """Of batches that are ready or being made, and of the decoded images of the latter."""
    data = parts.config.data
    pixels = sum(group.count * group.size_px**2 for group in parts.policy.groups)
    dtype = getattr(parts.backend, "dtype", torch.float32)
    views = images * (data.workers + data.prefetch) * 3 * pixels * dtype.itemsize
    if parts.backend.device.type != parts.device.type:
        return views  # the host has the images
    batch = images * mean_decoded_bytes(parts.index)
    most = data.workers * batch
    if parts.decoded_bytes is not None:
        least = batch if parts.policy.has_background else 0  # of those a batch is made whole
        most = min(most, max(least, parts.decoded_bytes))
    return int(views + most)


def _cache_bytes(parts: Parts, neighbours: int) -> int:
    """Of the host's memory; a GPU's cache has taken its own already."""
    cache = parts.cache
    if parts.device.type == "cuda" or not isinstance(cache, EncodedCache):
        return 0
    return cache.num_bytes // (neighbours if cache.is_shared else 1)


def _remedy(parts: Parts, world: int, neighbours: int) -> str:
    """The largest half, quarter, ... of the batch that fits, or what else makes a step small."""
    batch, forwards = parts.config.loop.batch_size // 2, world * parts.config.loop.accumulate
    while batch >= 2 and batch % forwards == 0:
        loop = replace(parts.config.loop, batch_size=batch)
        smaller = replace(parts, config=replace(parts.config, loop=loop))
        try:
            check_batch(smaller.config, parts.method)
        except UsageError:
            break
        step = step_bytes(smaller, loop.images_per_forward // world)
        found = _footprint(smaller, step, world, neighbours)
        if found.surely_fits:
            return f"try --batch-size {batch}"
        batch //= 2
    cache = ", a smaller data.cache_bytes" if parts.config.data.cache == "host" else ""
    return (
        f"no smaller batch would do: take a smaller --arch, fewer --views, smaller --sizes{cache}"
    )
