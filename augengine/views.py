"""Views: the finished views of one batch, what was bad on the way, and their place in the stream.

Legend: B images, V views of one crop size, C channels, S crop side in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from augengine.plan import Plan
from shards.cursor import Cursor

START = Cursor(0)


@dataclass(frozen=True, slots=True)
class BadSample:
    """One sample that could not be used, and why."""

    id: int
    key: str
    shard: str
    reason: str
    epoch: int = 0  # in which it was met
    substitute: int | None = None  # the sample that was used instead; None: none was

    def __str__(self) -> str:
        return f"{self.key} in {self.shard} (sample {self.id}): {self.reason}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a batch: all that a record of it needs, and none of its pixels."""

    epochs: np.ndarray  # [B] int64 - epoch of each image
    ids: np.ndarray  # [B] int64 - sample ids of the images really used
    bad: tuple[BadSample, ...]
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Views:
    """One tensor per crop group, view-major: `crops[g].flatten(0, 1)` is a backbone's batch.

    The flattened [V*B, C, S, S] tensor is a view (no copy) and channels_last in memory.
    """

    crops: tuple[torch.Tensor, ...]  # per crop group: [V, B, C, S, S] float - normalised pixels
    ids: np.ndarray  # [B] int64 - sample ids of the images really used (substitutes included)
    labels: np.ndarray  # [B] int32 - class numbers, -1 where there is none
    plan: Plan  # what was done to make these views
    bad: tuple[BadSample, ...] = ()  # met on the way to this batch, and replaced or left out
    cursor: Cursor = START  # of the stream of samples, behind this batch
    # [H, B, C, S, S] as crops: made of views of the first group (plan.heavy), seen by no method's
    # own loss; None: the plan has none.
    heavy: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if not self.crops:
            raise ValueError("views need at least one crop group, got none")
        for crops in self.crops:
            if (
                crops.ndim != 5
                or crops.shape[1] != len(self.ids)
                or crops.shape[3] != crops.shape[4]
            ):
                raise ValueError(
                    f"crops must be [V, B={len(self.ids)}, C, S, S], got {tuple(crops.shape)}"
                )
        if (self.heavy is None) is not (self.plan.heavy is None):
            raise ValueError(
                "heavy views come with their plan, got one of the two; heavy_views has"
            )
        if len(self.labels) != len(self.ids):
            raise ValueError(f"got {len(self.ids)} ids but {len(self.labels)} labels")

    @property
    def batch_size(self) -> int:
        """Images in the batch, B."""
        return len(self.ids)

    @property
    def num_views(self) -> int:
        """Views of each image, over all crop groups."""
        return sum(crops.shape[0] for crops in self.crops)

    @property
    def origin(self) -> Origin:
        """The batch without its pixels."""
        return Origin(self.plan.epochs, self.ids, self.bad, self.cursor)

    def to(self, device: torch.device) -> "Views":
        """The same views with their crops on another device (asynchronous from pinned memory)."""
        crops = tuple(c.to(device, non_blocking=True) for c in self.crops)
        heavy = None if self.heavy is None else self.heavy.to(device, non_blocking=True)
        return replace(self, crops=crops, heavy=heavy)

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{tuple(c.shape)} {str(c.dtype).removeprefix('torch.')}" for c in self.crops
        )
        return f"Views(B={self.batch_size}, V={self.num_views}: {shapes} on {self.crops[0].device})"


def join_views(parts: Sequence[Views], plan: Plan, bad: tuple[BadSample, ...]) -> Views:
    """One batch of those images, in the order of the parts; `plan` and `bad` are of all of it."""
    groups = zip(*(part.crops for part in parts), strict=True)
    heavy = [part.heavy for part in parts if part.heavy is not None]
    return Views(
        tuple(_joined(crops) for crops in groups),
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        plan,
        bad,
        parts[-1].cursor,
        _joined(heavy) if heavy else None,
    )


def _joined(
    crops: Sequence[torch.Tensor],  # each [V, B, C, S, S]
) -> torch.Tensor:
    """[V, sum of B, C, S, S], channels last in memory as they are."""
    return torch.cat([part.movedim(2, 4) for part in crops], dim=1).movedim(4, 2)
