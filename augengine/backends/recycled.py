"""Memory for views that comes back when nobody looks at them any more.

A batch is too large for the heap: each would come in fresh pages that the system has to clear,
which costs a tenth of the time of making the views, and a third where pages are small. So the
fused backend hands out the memory of batches that are gone.
"""

import math
import weakref
from collections import deque

import numpy as np
import torch

MAX_FREE = 2  # blocks of one size kept for later
MAX_SIZES = 8  # different sizes of which blocks are kept
ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class RecycledMemory:
    """Hands out tensors; safe among threads.

    A tensor's memory is free again when the last tensor, view or array on it is gone; until then
    it is its holder's alone. What is free beyond MAX_FREE blocks of a size goes to the system.
    """

    def __init__(self) -> None:
        # Only single steps on built-in containers, no lock: a block comes back wherever its last
        # holder goes, be it inside a call of this class.
        self._free: dict[int, deque[np.ndarray]] = {}

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A contiguous CPU tensor, not initialised, aligned to ALIGNMENT."""
        num_bytes = math.prod(shape) * dtype.itemsize
        block = self._take(num_bytes)
        start = -block.ctypes.data % ALIGNMENT
        lease = block[start : start + num_bytes]  # what the tensor keeps alive
        weakref.finalize(lease, self._give_back, num_bytes, block).atexit = False
        return torch.from_numpy(lease).view(dtype).view(shape)

    def _take(self, num_bytes: int) -> np.ndarray:
        try:
            return self._free[num_bytes].pop()
        except (KeyError, IndexError):
            # numpy asks the system for huge pages where torch does not.
            return np.empty(num_bytes + ALIGNMENT, np.uint8)

    def _give_back(self, num_bytes: int, block: np.ndarray) -> None:
        if len(self._free) >= MAX_SIZES and num_bytes not in self._free:
            self._free.clear()
        self._free.setdefault(num_bytes, deque(maxlen=MAX_FREE)).append(block)
