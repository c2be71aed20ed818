"""What may make a view heavy: RandAugment, or a grid of tiles in another order; one, or neither.

    heavy: {randaugment: {num_ops: 2, magnitude: 9, prob: 0.9}, grid_shuffle: {grid: 4, prob: 0.1}}

Every global view gets a heavy one of itself: the same crop and colours, then this. The two are one
choice, as in Yif-Yang/DSSL, simsiam_imagenet/augmentations/simsiam_aug.py, whose numbers these are.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from augengine.heavy.heavy_ops import MAX_MAGNITUDE
from shards.errors import UsageError

MAX_OPS = 16
MAX_GRID = 16  # numbers of tiles are bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RandAugment:
    """Some ops, drawn with replacement from the sixteen of heavy_ops.py, one after the other."""

    num_ops: int = 2
    magnitude: float = 9.0  # of every op, 0 to 30
    prob: float = 1.0

    def __post_init__(self) -> None:
        _require(1 <= self.num_ops <= MAX_OPS, f"num_ops is 1 to {MAX_OPS}", self.num_ops)
        rule = f"magnitude is 0 to {MAX_MAGNITUDE}"
        _require(0 <= self.magnitude <= MAX_MAGNITUDE, rule, self.magnitude)
        _require(0 <= self.prob <= 1, "prob is a probability in [0, 1]", self.prob)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridShuffle:
    """Tiles in any order, each as likely; what a side leaves over stays at the right and below."""

    grid: int = 4  # tiles a side
    prob: float = 1.0

    def __post_init__(self) -> None:
        _require(2 <= self.grid <= MAX_GRID, f"grid is 2 to {MAX_GRID} tiles a side", self.grid)
        _require(0 <= self.prob <= 1, "prob is a probability in [0, 1]", self.prob)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heavy:
    """The two with their chances; with what is left of 1 a heavy view is its source."""

    randaugment: RandAugment | None = None
    grid_shuffle: GridShuffle | None = None

    def __post_init__(self) -> None:
        ops = (self.randaugment, self.grid_shuffle)
        rule = "heavy has randaugment or grid_shuffle"
        _require(any(ops), rule + "; write heavy: null for none", None)
        chance = sum(op.prob for op in ops if op is not None)
        # Nine tenths and a tenth are a bit more than 1 in some sums of floats.
        rule = "prob of randaugment and of grid_shuffle are one choice and add up to at most 1"
        _require(chance <= 1 + 1e-9, rule, chance)

    def check_side(self, size_px: int) -> None:
        """Raise UsageError where a tile of views of this side would have no pixel."""
        if self.grid_shuffle is not None and size_px < self.grid_shuffle.grid:
            raise UsageError(
                f"heavy.grid_shuffle has tiles of a pixel or more, got a grid of "
                f"{self.grid_shuffle.grid} on views of {size_px} px; lower "
                "policy.heavy.grid_shuffle.grid"
            )

    @property
    def values(self) -> dict[str, Any]:
        """As a file says it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


HEAVY_OPS: Mapping[str, type] = {"randaugment": RandAugment, "grid_shuffle": GridShuffle}


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise UsageError(f"{rule}, got {value!r}")
