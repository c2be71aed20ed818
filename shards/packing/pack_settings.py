"""The options that change the bytes of a set, and the packing order that follows from them.

The order is a function of the position alone, so a part of a pack makes its own run of it and
nothing else.
"""

import re
from dataclasses import asdict, dataclass

import numpy as np

from shards.errors import UsageError
from shards.format import MAX_IMAGE_PIXELS
from shards.order import SampleOrder
from shards.packing.deep import ValueRange
from shards.packing.holdout import HoldOut
from shards.packing.part import SHARD_NAME, Part
from shards.packing.transcode import ImageOptions
from shards.sources.raw import WINDOW_SAMPLES, Source

_POSITIONS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class PackOptions:
    """The options that change the bytes of a set."""

    name: str
    shard_size_bytes: int
    short_side_px: int | None
    seed: int
    limit: int | None
    skip: int = 0  # samples, the first of the order
    value_range: ValueRange | None = None
    max_pixels: int = MAX_IMAGE_PIXELS
    hold_out: HoldOut | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(SHARD_NAME, self.name):
            raise UsageError(
                f"a shard name has 1 to 64 of the characters A-Z a-z 0-9 - _, got {self.name!r}"
            )
        for what, value in (
            ("shard size", self.shard_size_bytes),
            ("resize", self.short_side_px),
            ("limit", self.limit),
            ("max pixels", self.max_pixels),
        ):
            if value is not None and value < 1:
                raise UsageError(f"{what} must be at least 1, got {value}")
        if self.max_pixels != MAX_IMAGE_PIXELS and self.short_side_px is None:
            raise UsageError(
                f"--max-pixels is of images that --resize shrinks, got {self.max_pixels:,} without "
                "--resize; add --resize 256, or leave it out: without, an image of over "
                f"{MAX_IMAGE_PIXELS:,} is a bad one"
            )
        if self.skip < 0:
            raise UsageError(f"skip must not be negative, got {self.skip}")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, got {self.seed}")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise UsageError(
                f"a value range goes from black to white, LOW:HIGH with LOW below HIGH, got "
                f"{self.value_range[0]:g}:{self.value_range[1]:g}"
            )

    def check(self, source: Source) -> None:
        """Raise UsageError where they leave nothing of a source."""
        if self.hold_out is None:
            self._positions(source)
        else:
            self.numbers(source)

    def numbers(self, source: Source, part: Part | None = None) -> tuple[int, np.ndarray]:
        """The samples to pack, or a part's run of them.

        Returns:
            How many come before, and sample numbers [N] int64 in packing order.

        Raises:
            UsageError: nothing is left.
        """
        first, stop = self._positions(source)
        part = part or Part(1, 1)
        if self.hold_out is None:
            begin, end = part.span(stop - first)
            return begin, _order(source, self.seed, first + begin, first + end)
        order = _order(source, self.seed, first, stop)
        taken = self.hold_out.take(order, source.labels)  # it looks at the classes of all
        begin, end = part.span(len(taken))
        return begin, taken[begin:end]

    def _positions(self, source: Source) -> tuple[int, int]:
        """Those of the order that `limit` and `skip` leave: the first, and the end."""
        total = len(source)
        if self.skip >= total:
            raise UsageError(
                f"--skip leaves images to pack, got {self.skip:,} of the {total:,} that SOURCE "
                f"has; skip fewer"
            )
        return self.skip, total if self.limit is None else min(total, self.skip + self.limit)

    @property
    def image(self) -> ImageOptions:
        """The changes that every image goes through."""
        return ImageOptions(self.short_side_px, self.value_range, self.max_pixels)

    def recorded(self) -> dict[str, object]:
        """The manifest's entry; an option of later releases appears only when it is used."""
        later = {
            "skip": 0,
            "value_range": None,
            "max_pixels": MAX_IMAGE_PIXELS,
            "hold_out": None,
        }
        values = asdict(self)
        if self.hold_out is not None:
            values["hold_out"] = self.hold_out.recorded()
        if self.value_range is not None:
            values["value_range"] = list(self.value_range)  # as JSON gives it back
        return {k: v for k, v in values.items() if k not in later or v != later[k]}


def _order(source: Source, seed: int, start: int, stop: int) -> np.ndarray:
    """Sample numbers at the positions [start, stop) of the packing order."""
    blocks = source.block_sizes
    window = None
    if blocks is not None:
        window = max(1, round(WINDOW_SAMPLES / (len(source) / len(blocks))))
        blocks = blocks.tolist()
    order = SampleOrder(len(source), seed, shard_sizes=blocks, window_shards=window)
    numbers = np.empty(stop - start, np.int64)
    for first in range(start, stop, _POSITIONS_AT_ONCE):
        positions = np.arange(first, min(stop, first + _POSITIONS_AT_ONCE))
        numbers[positions - start] = order(positions)[1]
    return numbers
