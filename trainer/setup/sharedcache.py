"""One cache for all ranks of a machine: they agree on its size and open the same block of memory.

Each rank reads other images in every epoch, so ranks that kept a part each by themselves would find
it no more often than if all kept the same part; what is kept once for all is found by all, and is
as many times larger as there are ranks.
"""

import socket
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from augengine.devices.shared_memory import SharedBlock
from trainer.distributed import is_distributed, rank, world_size

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Neighbours:
    """The ranks of this machine; every rank makes one, and all its methods are collectives."""

    def __init__(self) -> None:
        machines = _gather(_machine())
        self._ranks = [number for number, other in enumerate(machines) if other == _machine()]

    def __len__(self) -> int:
        """Ranks on this machine, this one included."""
        return len(self._ranks)

    def agree(self, number: int) -> int:
        """The number that the first of them has."""
        return int(_gather(number)[self._ranks[0]])

    def share(self, num_bytes: int) -> torch.Tensor | None:
        """[num_bytes] uint8, zeros that all of them see alike; None where that is not possible."""
        is_first = rank() == self._ranks[0]
        made = SharedBlock.make(num_bytes) if is_first and len(self) > 1 else None
        address = str(_gather(made.address if made else "")[self._ranks[0]])
        block = made or (SharedBlock.open(address, num_bytes) if address else None)
        have = _gather(block is not None)
        if block is None or not all(have[number] for number in self._ranks):
            return None
        block.close()
        return block.tensor[:num_bytes]


def _gather(value: object) -> list[Any]:
    """Every rank's value, by rank."""
    if not is_distributed():
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


def _machine() -> str:
    """Alike for processes that see each other's memory, as far as names tell; trying it decides."""
    try:
        boot = _BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}"
