"""A place for each of the first items in one block of memory: filled once, never moved or freed.

What both caches stand on. Which items have a place follows from their sizes and the bound alone, so
a cache that is too small holds the same part in every epoch and on any number of threads, where one
that evicts would throw out what is needed next: an epoch asks for every item once.
"""

import threading
from collections.abc import Callable, Iterable

import numpy as np
import torch

from shards.errors import UsageError
from shards.terminal.bytesize import show_size

# Bytes for all to see, zeros at first; None: there are none.
Share = Callable[[int], torch.Tensor | None]


class Slots:
    """Slots 0 to `len - 1`, each of a fixed number of bytes; safe among threads.

    Only the thread that has claimed a slot writes it, and no one reads it before it is published.
    Processes that share the memory claim each for themselves: two may write the same bytes to the
    same place, and whichever is done first publishes them.
    """

    def __init__(
        self,
        sizes_bytes: np.ndarray,  # [N] int - of all items; 0 where an item needs no slot
        max_bytes: int,
        device: torch.device | str = "cpu",
        alignment: int = 1,  # bytes; every slot starts at a multiple of it
        share: Share | None = None,  # the memory comes from here, if it has any
    ) -> None:
        padded = -(-np.asarray(sizes_bytes, dtype=np.int64) // alignment) * alignment
        ends = np.cumsum(padded)
        num_slots = int(np.searchsorted(ends, max_bytes, "right"))
        self._starts = ends[:num_slots] - padded[:num_slots]
        self._sizes = np.array(sizes_bytes[:num_slots], dtype=np.int64)
        self._claimed = np.zeros(num_slots, bool)
        self._lock = threading.Lock()
        num_bytes = int(ends[num_slots - 1]) if num_slots else 0
        shared = None if share is None else share(num_bytes + num_slots)
        self.is_shared = shared is not None
        if shared is None:
            self._filled = np.zeros(num_slots, bool)
            self._memory = _allocate(num_bytes, device)
        else:
            self._memory = shared[:num_bytes]
            self._filled = shared[num_bytes:].numpy().view(bool)

    def __len__(self) -> int:
        """Items that have a slot: the first ones."""
        return len(self._sizes)

    @property
    def num_bytes(self) -> int:
        """Bytes of all slots, filled or not."""
        return self._memory.numel()

    def filled(self, ids: np.ndarray) -> np.ndarray:
        """Items that can be read, [B] bool."""
        with self._lock:
            found = self._has_slot(ids)
            found[found] = self._filled[ids[found]]
            return found

    def claim(self, ids: np.ndarray) -> list[int]:
        """Rows of `ids` whose slots are empty and now the caller's to fill and publish."""
        with self._lock:
            rows = np.flatnonzero(self._has_slot(ids))
            rows = rows[~(self._filled[ids[rows]] | self._claimed[ids[rows]])]
            # A batch may hold an item twice; one row writes it.
            first = np.unique(ids[rows], return_index=True)[1]
            rows = rows[first]
            self._claimed[ids[rows]] = True
            return rows.tolist()

    def publish(self, ids: Iterable[int]) -> None:
        """Let everyone read slots that the caller claimed and has filled."""
        with self._lock:
            self._filled[list(ids)] = True

    def slot(self, id: int) -> torch.Tensor:
        """An item's memory, [bytes] uint8, no copy; whether it holds the item is not checked."""
        start = int(self._starts[id])
        return self._memory[start : start + int(self._sizes[id])]

    def _has_slot(self, ids: np.ndarray) -> np.ndarray:
        """[B] bool: among the first, and of a size."""
        kept = ids < len(self)
        kept[kept] = self._sizes[ids[kept]] > 0
        return kept


def _allocate(num_bytes: int, device: torch.device | str) -> torch.Tensor:
    """All memory at once: what cannot be had is known at the start, and nothing is fragmented.

    On the host the system gives a page when it is first written, so slots that are never filled
    cost nothing.
    """
    try:
        memory = torch.empty(num_bytes, dtype=torch.uint8, device=device)
        if memory.is_cuda:
            # It may have been another tensor's, whose last kernels still run on this stream; those
            # who fill the slots work on others.
            torch.cuda.synchronize(memory.device)
        return memory
    except RuntimeError as error:  # torch.OutOfMemoryError on a GPU, a plain one on the host
        raise UsageError(
            f"a cache fits into free memory, got {show_size(num_bytes)} on {device}; give less "
            "with data.cache_bytes"
        ) from error
