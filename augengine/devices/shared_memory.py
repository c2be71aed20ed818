"""A block of memory that several processes of one machine see alike, so that one copy serves all.

The ranks of one machine keep their samples in one. The block has no name in any file system: it
lives as long as a process that has opened it, so nothing is left behind by a kill, and neither
/dev/shm nor its size matters. The system gives a page when it is first written.
"""

import mmap
import os

import torch

from augengine.devices.free_memory import free_host_bytes


class SharedBlock:
    """Bytes that begin as zeros; `address` lets other processes of this user open them."""

    def __init__(self, descriptor: int, num_bytes: int) -> None:
        """Map an open file of that size, and own it; raises OSError or ValueError."""
        self._descriptor = descriptor
        # The tensor keeps the mapping alive.
        self.tensor = torch.frombuffer(mmap.mmap(descriptor, num_bytes), dtype=torch.uint8)

    @staticmethod
    def make(num_bytes: int) -> "SharedBlock | None":
        """A new block of at least a byte; None where the system has none or too little memory."""
        free = free_host_bytes()
        if not hasattr(os, "memfd_create") or (free is not None and num_bytes > free):
            return None
        try:
            descriptor = os.memfd_create("augengine-cache")
        except OSError:
            return None
        return _mapped(descriptor, num_bytes, grow=True)

    @staticmethod
    def open(address: str, num_bytes: int) -> "SharedBlock | None":
        """Another process's block; None where it cannot be reached, as from another container."""
        try:
            descriptor = os.open(address, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        return _mapped(descriptor, num_bytes, grow=False)

    @property
    def address(self) -> str:
        """A path that leads to the block as long as this object lives."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    def close(self) -> None:
        """Let nobody else open it; the memory stays with those who have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _mapped(descriptor: int, num_bytes: int, *, grow: bool) -> SharedBlock | None:
    try:
        if grow:
            os.ftruncate(descriptor, max(1, num_bytes))
        if os.fstat(descriptor).st_size == max(1, num_bytes):
            return SharedBlock(descriptor, max(1, num_bytes))
    except (OSError, ValueError):
        pass
    os.close(descriptor)
    return None
