"""A place for each of the first items in one block of memory: filled once, never moved or freed.

What both caches stand on. Which items have a place follows from their sizes and the bound alone, so
a cache that is too small holds the same part in every epoch and on any number of threads, where one
that evicts would throw out what is needed next: an epoch asks for every item once.
"""

import threading
from collections.abc import Iterable

import numpy as np
import torch

from shards.bytesize import show_size
from shards.errors import UsageError

_EMPTY, _CLAIMED, _FILLED = range(3)


class Slots:
    """Slots 0 to `len - 1`, each of a fixed number of bytes; safe among threads.

    Only the thread that has claimed a slot writes it, and no one reads it before it is published.
    """

    def __init__(
        self,
        sizes_bytes: np.ndarray,  # [N] int - of all items; 0 where an item needs no slot
        max_bytes: int,
        device: torch.device | str = "cpu",
        alignment: int = 1,  # bytes; every slot starts at a multiple of it
    ) -> None:
        padded = -(-np.asarray(sizes_bytes, dtype=np.int64) // alignment) * alignment
        ends = np.cumsum(padded)
        num_slots = int(np.searchsorted(ends, max_bytes, "right"))
        self._starts = ends[:num_slots] - padded[:num_slots]
        self._sizes = np.array(sizes_bytes[:num_slots], dtype=np.int64)
        self._states = np.full(num_slots, _EMPTY, np.uint8)
        self._lock = threading.Lock()
        self._memory = _allocate(int(ends[num_slots - 1]) if num_slots else 0, device)

    def __len__(self) -> int:
        """Items that have a slot: the first ones."""
        return len(self._states)

    @property
    def num_bytes(self) -> int:
        """Bytes of all slots, filled or not."""
        return self._memory.numel()

    def filled(self, ids: np.ndarray) -> np.ndarray:
        """Which items can be read, [B] bool."""
        with self._lock:
            return self._in_state(ids, _FILLED)

    def claim(self, ids: np.ndarray) -> list[int]:
        """Rows of `ids` whose slots are empty and now the caller's to fill and publish."""
        with self._lock:
            rows = np.flatnonzero(self._in_state(ids, _EMPTY))
            # A batch may hold an item twice; one row writes it.
            first = np.unique(ids[rows], return_index=True)[1]
            rows = rows[first]
            self._states[ids[rows]] = _CLAIMED
            return rows.tolist()

    def publish(self, ids: Iterable[int]) -> None:
        """Let everyone read slots that the caller claimed and has filled."""
        with self._lock:
            self._states[list(ids)] = _FILLED

    def slot(self, id: int) -> torch.Tensor:
        """An item's memory, [bytes] uint8, no copy; whether it holds the item is not checked."""
        start = int(self._starts[id])
        return self._memory[start : start + int(self._sizes[id])]

    def _in_state(self, ids: np.ndarray, state: int) -> np.ndarray:
        found = np.zeros(len(ids), bool)
        has_slot = ids < len(self._states)
        kept = ids[has_slot]
        found[has_slot] = (self._states[kept] == state) & (self._sizes[kept] > 0)
        return found


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
