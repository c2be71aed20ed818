"""The plan: what will happen to each view of each image, in plain arrays, before any decode.

Field by field, with pictures of the conventions: docs/plan.md. A plan has no device and no torch;
it can be saved, hashed, printed, sliced and replayed. Only `draw.py` draws one; a backend only
executes it.

Legend: B images, V views over all crop groups (the groups' views one after the other).
"""

import hashlib
from dataclasses import dataclass, field, fields, replace
from itertools import permutations, product
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from augengine.heavy.heavy_plan import ARRAYS, HeavyPlan
from shards.atomic import atomic_file
from shards.errors import DataError
from shards.npy import ArrayError, read_npz

# Of a plan that changes a background; one that only turns views is written as version 2, any other
# as version 1.
PLAN_VERSION = 3
KEPT, FILLED, PASTED = range(3)  # what becomes of a view's background
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
# Row `order` of this table is the sequence in which the four colour ops run: 0 is (0, 1, 2, 3).
ORDERS = np.array(list(permutations(range(4))), dtype=np.uint8)  # [24, 4]
MAX_SIZE_PX = 4096  # a view's side: one in float32 is 200 MB then
NO_SOLARIZE = 2.0  # a threshold no pixel in [0, 1] reaches

_PER_IMAGE = {"ids": np.int64, "epochs": np.int64, "image_sizes": np.int32}
_PER_VIEW_OF_IMAGE = {"window": np.int32, "flip": np.bool_}
_PER_VIEW_OF_IMAGE |= dict.fromkeys(("brightness", "contrast", "saturation", "hue"), np.float32)
_PER_VIEW_OF_IMAGE |= {"order": np.uint8, "gray": np.bool_}
_PER_VIEW_OF_IMAGE |= dict.fromkeys(("sigma", "solarize"), np.float32)
_TURNS = {"vflip": np.bool_, "quarter_turns": np.uint8}  # since version 2; left out: off
_BACKGROUNDS = {"background": np.uint8, "fill": np.uint8, "donor": np.int64}  # since version 3
_LATER = _TURNS | _BACKGROUNDS
_PER_VIEW = {"group": np.int32, "size_px": np.int32, "kernel_px": np.int32, "bicubic": np.bool_}


def _off() -> np.ndarray:
    """A number that stands for an array of [B, V] with nothing applied."""
    return np.zeros(())


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Struct of arrays; every array is checked for shape and converted to its type when made."""

    # Per image.
    ids: np.ndarray  # [B] int64 - sample ids
    epochs: np.ndarray  # [B] int64 - epoch the sample is drawn in (a batch may cross a border)
    image_sizes: np.ndarray  # [B, 2] int32 - height, width of the upright image

    # Per image and view. A neutral value means: not applied.
    window: np.ndarray  # [B, V, 4] int32 - top, left, height, width, in whole upright pixels
    flip: np.ndarray  # [B, V] bool - mirror left-right
    # [B, V] bool - mirror top-bottom
    vflip: np.ndarray = field(default_factory=_off, kw_only=True)
    # [B, V] uint8 - then turn by so many times 90 degrees, counter-clockwise, 0 to 3
    quarter_turns: np.ndarray = field(default_factory=_off, kw_only=True)
    # [B, V] uint8 - KEPT, FILLED or PASTED, before all else
    background: np.ndarray = field(default_factory=_off, kw_only=True)
    # [B, V, 3] uint8 - the colour where FILLED, else 0
    fill: np.ndarray = field(default_factory=_off, kw_only=True)
    # [B, V] int64 - id of the image of this plan whose background is PASTED, else 0
    donor: np.ndarray = field(default_factory=_off, kw_only=True)
    brightness: np.ndarray  # [B, V] float32 - factor, 1: off
    contrast: np.ndarray  # [B, V] float32 - factor, 1: off
    saturation: np.ndarray  # [B, V] float32 - factor, 1: off
    hue: np.ndarray  # [B, V] float32 - turns in [-0.5, 0.5], 0: off
    order: np.ndarray  # [B, V] uint8 - row of ORDERS
    gray: np.ndarray  # [B, V] bool - replace by its gray image
    sigma: np.ndarray  # [B, V] float32 - blur, output pixels, 0: off
    solarize: np.ndarray  # [B, V] float32 - invert pixels >= this, NO_SOLARIZE: off

    # Per view: the same for every image.
    group: np.ndarray  # [V] int32 - crop group, non-decreasing
    size_px: np.ndarray  # [V] int32 - side S of the output, 1 to MAX_SIZE_PX
    kernel_px: np.ndarray  # [V] int32 - odd taps of the blur
    bicubic: np.ndarray  # [V] bool - else bilinear; antialiased either way

    mean: tuple[float, float, float]  # normalisation, in [0, 1] units
    std: tuple[float, float, float]
    heavy: HeavyPlan | None = None  # views made of the first group's

    def __post_init__(self) -> None:
        self._shape_arrays()
        if self.heavy is not None:
            self.heavy.check_fits(self.batch_size, self.groups[0])
        # Wide enough for the sum of any two.
        top, left, height, width = np.moveaxis(self.window.astype(np.int64), -1, 0)
        image_height, image_width = self.image_sizes[:, :1], self.image_sizes[:, 1:]
        inside = (top >= 0) & (left >= 0) & (height > 0) & (width > 0)
        inside &= (top + height <= image_height) & (left + width <= image_width)
        if not inside.all():
            b, v = np.argwhere(~inside)[0]
            raise ValueError(
                f"a window lies inside its image, got {self.window[b, v].tolist()} (top, left, "
                f"height, width) in {self.image_sizes[b].tolist()} for sample {self.ids[b]}, "
                f"view {v}"
            )
        sizes = self.size_px
        if (sizes < 1).any() or (sizes > MAX_SIZE_PX).any():
            raise ValueError(f"a view's side is 1 to {MAX_SIZE_PX} pixels, got {sizes.tolist()}")
        # A border reflected once has size_px - 1 pixels to give on each side.
        taps, reach = self.kernel_px, 2 * sizes - 1
        if (taps % 2 == 0).any() or (taps < 1).any() or (taps > reach).any():
            raise ValueError(
                f"a blur has an odd number of taps, 1 to 2 size_px - 1, got {taps.tolist()} "
                f"for sizes {sizes.tolist()}"
            )
        if (self.order >= len(ORDERS)).any():
            raise ValueError(f"an order is 0 to {len(ORDERS) - 1}, got {self.order.max()}")
        if (self.quarter_turns > 3).any():
            raise ValueError(f"quarter_turns are 0 to 3, got {self.quarter_turns.max()}")
        if (self.background > PASTED).any():
            raise ValueError(f"backgrounds are 0 to {PASTED}, got {self.background.max()}")
        for name in (name for name, kind in _PER_VIEW_OF_IMAGE.items() if kind is np.float32):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"plan.{name} must be finite")
        if (
            len(self.mean) != 3
            or len(self.std) != 3
            or not np.isfinite((self.mean, self.std)).all()
        ):
            raise ValueError(f"mean and std are three numbers each, got {self.mean}, {self.std}")
        if (self.group[1:] < self.group[:-1]).any():
            raise ValueError(f"views are sorted by crop group, got groups {self.group.tolist()}")

    def _shape_arrays(self) -> None:
        """Convert every array to its type, contiguous; raise ValueError when a shape is wrong."""
        if self.flip.ndim != 2:
            raise ValueError(f"plan.flip must have shape [B, V], got {self.flip.shape}")
        b, v = self.flip.shape
        shapes = {"image_sizes": (b, 2), "window": (b, v, 4), "fill": (b, v, 3)}
        for name in _LATER:
            if np.ndim(getattr(self, name)) == 0:
                array = np.full(shapes.get(name, (b, v)), getattr(self, name))
                object.__setattr__(self, name, array)
        of_image = _PER_VIEW_OF_IMAGE | _LATER
        for names, default in ((_PER_IMAGE, (b,)), (of_image, (b, v)), (_PER_VIEW, (v,))):
            for name, dtype in names.items():
                array = np.ascontiguousarray(getattr(self, name), dtype=dtype)
                shape = shapes.get(name, default)
                if array.shape != shape:
                    raise ValueError(f"plan.{name} must have shape {shape}, got {array.shape}")
                object.__setattr__(self, name, array)

    @property
    def batch_size(self) -> int:
        """Images, B."""
        return self.flip.shape[0]

    @property
    def num_views(self) -> int:
        """Views of each image over all groups, V."""
        return self.flip.shape[1]

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Per crop group, the indices of its views."""
        return tuple(tuple(np.flatnonzero(self.group == g).tolist()) for g in np.unique(self.group))

    @property
    def version(self) -> int:
        """Of its form: 1, 2 where a view is flipped top-bottom or turned, 3 with backgrounds."""
        if self.background.any():
            return 3
        return 2 if self.vflip.any() or self.quarter_turns.any() else 1

    def rows(self, rows: np.ndarray | slice) -> "Plan":
        """The plan of some of the images, in the given order."""
        names = _PER_IMAGE | _PER_VIEW_OF_IMAGE | _LATER
        arrays = {name: getattr(self, name)[rows] for name in names}
        return replace(self, **arrays, heavy=self.heavy and self.heavy.rows(rows))

    def digest(self) -> str:
        """SHA-256 over every field: equal digests mean equal views from a deterministic backend."""
        # A plan that turns nothing keeps the digest that it had before there were turns, ...
        later = _later(self.version)
        shape = (self.version, self.batch_size, self.num_views)
        # The shape too: bytes alone do not say where one field ends and the next begins.
        sha = hashlib.sha256(repr((shape, self.mean, self.std)).encode())
        for name in (*_PER_IMAGE, *_PER_VIEW_OF_IMAGE, *later, *_PER_VIEW):
            sha.update(getattr(self, name).tobytes())
        for name, array in (self.heavy.arrays() if self.heavy else {}).items():
            sha.update(f"{name} {array.shape}".encode() + array.tobytes())
        return sha.hexdigest()

    def save(self, path: str | PathLike[str]) -> None:
        """Write the plan as an uncompressed .npz; `load` reads it back equal."""
        arrays: dict[str, Any] = {
            field.name: np.asarray(getattr(self, field.name))
            for field in fields(self)
            if field.name != "heavy"
            and (field.name not in _LATER or field.name in _later(self.version))
        }
        arrays |= self.heavy.arrays() if self.heavy else {}
        # A file object, since savez adds .npz to a path that lacks it.
        with atomic_file(Path(path)) as file:
            np.savez(file, version=np.int64(self.version), **arrays)

    @staticmethod
    def load(path: str | PathLike[str]) -> "Plan":
        """Read a plan written by `save`; raises DataError for anything else, or another version."""
        try:
            arrays = _read_arrays(Path(path))
            version = arrays.pop("version").tolist()
            expected = max(n for n in range(1, 4) if _later(n).keys() <= arrays.keys())
            if version != expected:
                raise ArrayError(f"its version must be {expected}, got {version}")
            heavy = {name: arrays.pop(name) for name in ARRAYS if name in arrays}
            kinds = _PER_IMAGE | _PER_VIEW_OF_IMAGE | _LATER | _PER_VIEW
            kinds |= dict.fromkeys(("mean", "std"), float)
            odd = [name for name, array in arrays.items() if array.dtype != kinds[name]]
            if odd:
                raise ArrayError(f"{odd[0]} must be {np.dtype(kinds[odd[0]])}")
            mean, std = (tuple(arrays.pop(name).reshape(-1).tolist()) for name in ("mean", "std"))
            return Plan(**arrays, mean=mean, std=std, heavy=HeavyPlan.of(heavy) if heavy else None)
        except (OSError, ValueError) as error:
            raise DataError(
                f"a plan is an .npz written by Plan.save, got {path}: {error}; draw it again"
            ) from error

    def __repr__(self) -> str:
        sizes = "+".join(f"{len(views)}x{self.size_px[views[0]]}px" for views in self.groups)
        return f"Plan(B={self.batch_size}, V={self.num_views}: {sizes}, {self.digest()[:12]})"


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a plan's file, those of later versions and of heavy views where they are."""
    later = (*_LATER, "heavy")
    names = ["version", *(field.name for field in fields(Plan) if field.name not in later)]
    errors = []
    for version, heavy in product(range(1, PLAN_VERSION + 1), ((), ARRAYS)):
        try:
            return read_npz(path, [*names, *_later(version), *heavy])
        except ArrayError as error:
            errors.append(error)
    raise errors[0]


def _later(version: int) -> dict[str, Any]:
    """The fields that a version has beyond the first one's."""
    return ({}, _TURNS, _LATER)[version - 1]
