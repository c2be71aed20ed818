"""The position of a run in the endless stream of samples: one integer, nothing else.

The stream is epoch after epoch without a gap (`order.py` says which sample is at which position).
Batches cross the borders of epochs, so every batch is full and no sample is dropped or repeated;
and because the position counts samples of the whole run, it can go on with another batch size or
world.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shards.errors import DataError, UsageError

_STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """Samples consumed so far by all ranks together."""

    position: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.position, bool) or not isinstance(self.position, int):
            raise TypeError(f"a cursor's position must be an int, got {self.position!r}")
        if self.position < 0:
            raise ValueError(f"a cursor's position must be >= 0, got {self.position}")

    def advance(self, num_samples: int) -> "Cursor":
        """The cursor after `num_samples` more samples, counted over all ranks."""
        if num_samples < 0:
            raise ValueError(f"a cursor only advances, got {num_samples} samples")
        return Cursor(self.position + num_samples)

    def positions(self, batch_size: int, rank: int = 0, world: int = 1) -> np.ndarray:
        """Positions of one rank's part of the next batch.

        Args:
            batch_size: samples over all ranks.
            rank: this process, in [0, world).
            world: processes.

        Returns:
            [batch_size / world] int64: the rank's stretch of the batch; the ranks' parts one after
            the other are the batch, whatever the world.

        Raises:
            UsageError: the batch does not divide evenly, or there is no such rank.
        """
        if world < 1 or not 0 <= rank < world:
            raise UsageError(f"a rank must lie in [0, world), got rank {rank} of {world}")
        if batch_size < 1 or batch_size % world:
            below = batch_size // world * world
            near = f"{below} or {below + world}" if below > 0 else f"{world}"
            raise UsageError(
                f"the global batch must be a positive multiple of the {world} processes, got "
                f"{batch_size}; take {near}"
            )
        local = batch_size // world
        start = self.position + rank * local
        return np.arange(start, start + local, dtype=np.int64)

    def state_dict(self) -> dict[str, int]:
        """The state that a checkpoint keeps."""
        return {"version": _STATE_VERSION, "position": self.position}

    @staticmethod
    def from_state_dict(state: Mapping[str, int]) -> "Cursor":
        """The cursor of a `state_dict`; raises DataError for anything else."""
        is_ours = isinstance(state, Mapping) and set(state) == {"version", "position"}
        if is_ours and state["version"] == _STATE_VERSION:
            with contextlib.suppress(TypeError, ValueError):
                return Cursor(state["position"])
        raise DataError(
            f"a cursor's state must have version {_STATE_VERSION} and a position, got {state!r}; "
            "resume with the AugEngine that wrote it"
        )
