"""What will make the heavy views of a batch: plain arrays, a part of its plan.

Legend: B images, H heavy views, N ops of RandAugment, T tiles of a grid (0 or a square).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from augengine.heavy.heavy_ops import NAMES, NO_OP, OPS
from augengine.heavy.heavy_policy import Heavy

NUMBERS_A_BLOCK = 4  # of an op: which, its sign, its place across and down
_KINDS = {
    "source": (np.int32, 1),
    "ops": (np.uint8, 3),
    "amounts": (np.float32, 3),
    "places": (np.float32, 4),
    "tiles": (np.uint8, 3),
}
PREFIX = "heavy_"  # of the arrays in a plan's file
ARRAYS = tuple(PREFIX + name for name in _KINDS)


@dataclass(frozen=True, slots=True, eq=False)
class HeavyPlan:
    """Checked for shape and converted when made, as the plan."""

    source: np.ndarray  # [H] int32 - the plan's view that each is made of
    ops: np.ndarray  # [B, H, N] uint8 - place in OPS from 1, one after the other; 0: none
    amounts: np.ndarray  # [B, H, N] float32 - of each, in its own units
    places: np.ndarray  # [B, H, N, 2] float32 - of a cutout's middle: across, down, in [0, 1)
    tiles: np.ndarray  # [B, H, T] uint8 - which tile lies at each place of the grid, row by row

    def __post_init__(self) -> None:
        for name, (dtype, ndim) in _KINDS.items():
            array = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            if array.ndim != ndim:
                raise ValueError(f"heavy.{name} has {ndim} axes, got shape {array.shape}")
            object.__setattr__(self, name, array)
        b, h, n = self.ops.shape
        wanted = {"source": (h,), "amounts": (b, h, n), "places": (b, h, n, 2)}
        wanted["tiles"] = (b, h, self.tiles.shape[2])
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                got = getattr(self, name).shape
                raise ValueError(f"heavy.{name} must have shape {shape}, got {got}")
        if (self.ops > len(OPS)).any():
            raise ValueError(f"an op is 0 to {len(OPS)}, got {self.ops.max()}")
        if not (np.isfinite(self.amounts).all() and np.isfinite(self.places).all()):
            raise ValueError("heavy.amounts and heavy.places must be finite")
        number = self.tiles.shape[2]
        if self.grid**2 != number or (np.sort(self.tiles, axis=-1) != np.arange(number)).any():
            raise ValueError(f"heavy.tiles are orders of a square grid, got {number} tiles")

    def check_fits(self, batch_size: int, first: Sequence[int]) -> None:
        """Raise ValueError unless it is of so many images and of views of the first group."""
        if len(self.ops) != batch_size or not np.isin(self.source, first).all():
            raise ValueError(
                f"heavy views are of the plan's {batch_size} images and of its views "
                f"{list(first)}, got {len(self.ops)} and {self.source.tolist()}"
            )

    @property
    def grid(self) -> int:
        """Tiles a side, 0 without any."""
        return math.isqrt(self.tiles.shape[2])

    @property
    def num_views(self) -> int:
        """Heavy views of an image, H."""
        return len(self.source)

    @property
    def is_shuffled(self) -> np.ndarray:
        """[B, H] bool: some tile lies elsewhere."""
        return (self.tiles != np.arange(self.tiles.shape[2])).any(axis=-1)

    def rows(self, rows: np.ndarray | slice) -> "HeavyPlan":
        """Of some of the images."""
        names = [name for name in _KINDS if name != "source"]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def in_words(self, b: int, h: int) -> tuple[str, ...]:
        """What is done, in order: "rotate -9", "tiles 4x4", or "unchanged"."""
        pairs = zip(self.ops[b, h].tolist(), self.amounts[b, h].tolist(), strict=True)
        done = [f"{NAMES[op]} {amount:.3g}" if amount else NAMES[op] for op, amount in pairs if op]
        done += [f"tiles {self.grid}x{self.grid}"] * bool(self.is_shuffled[b, h])
        return tuple(word.replace("_", " ") for word in done or ["unchanged"])

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by its name in a plan's file."""
        return {PREFIX + field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def of(arrays: Mapping[str, Any]) -> "HeavyPlan":
        """The inverse of `arrays`; ValueError for another type of one."""
        own = {name: arrays[PREFIX + name] for name in _KINDS}
        odd = [name for name, array in own.items() if array.dtype != _KINDS[name][0]]
        if odd:
            raise ValueError(f"{PREFIX}{odd[0]} must be {np.dtype(_KINDS[odd[0]][0])}")
        return HeavyPlan(**own)


def counts(heavy: Heavy) -> tuple[int, int]:
    """How many numbers a view needs: for its choice and its ops, and for its tiles."""
    num_ops = heavy.randaugment.num_ops if heavy.randaugment else 0
    tiles = heavy.grid_shuffle.grid**2 if heavy.grid_shuffle else 0
    return NUMBERS_A_BLOCK * (1 + num_ops), tiles


def heavy_from_numbers(
    heavy: Heavy,
    numbers: np.ndarray,  # [B, H, 4 + 4 N] float64 in [0, 1) - the choice, then four an op
    orders: np.ndarray,  # [B, H, T] float64 in [0, 1) - whose ranks are the order of the tiles
    size_px: int,  # the views' side
) -> HeavyPlan:
    """The plan of the first H views' heavy ones."""
    heavy.check_side(size_px)
    b, h = numbers.shape[:2]
    chance = heavy.randaugment.prob if heavy.randaugment else 0.0
    gate = numbers[..., :1]
    which, sign, across, down = np.moveaxis(
        numbers[..., NUMBERS_A_BLOCK:].reshape(b, h, -1, NUMBERS_A_BLOCK), -1, 0
    )
    ops = (which * len(OPS)).astype(np.uint8) + 1
    magnitude = heavy.randaugment.magnitude if heavy.randaugment else 0.0
    table = np.array([0.0, *(op.amount(magnitude) for op in OPS.values())])
    is_signed = np.array([False, *(op.is_signed for op in OPS.values())])
    amounts = table[ops] * np.where(is_signed[ops] & (sign >= 0.5), -1, 1)
    is_on = gate < chance
    tiles = np.argsort(orders, axis=-1, kind="stable")
    if heavy.grid_shuffle:
        shuffle = heavy.grid_shuffle
        moves = ~is_on & (gate < chance + shuffle.prob)
        tiles = np.where(moves, tiles, np.arange(shuffle.grid**2))
    # Neutral values where nothing happens, so that plans that do the same have the same digest.
    is_cutout = (ops == list(OPS).index("cutout") + 1) & is_on
    places = np.where(is_cutout[..., None], np.stack([across, down], axis=-1), 0)
    return HeavyPlan(
        source=np.arange(h),
        ops=np.where(is_on, ops, NO_OP),
        amounts=np.where(is_on, amounts, 0),
        places=places,
        tiles=tiles,
    )
