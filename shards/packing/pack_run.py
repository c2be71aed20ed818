"""One run of the packer: shard after shard, from where an interrupted run ended to the end.

The run fills a staging folder. A shard is closed when the next sample would make it too large, so
what a shard holds depends on the samples before it and on nothing else.
"""

import contextlib
import re
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass

import numpy as np

from shards.errors import DataError, UsageError
from shards.format import MAX_IMAGE_PIXELS
from shards.order import SampleOrder
from shards.packing.conversions import Converted
from shards.packing.deep import ValueRange
from shards.packing.encode import Encoded, encode_in_order
from shards.packing.holdout import HoldOut
from shards.packing.pack_bar import images_bar
from shards.packing.part import SHARD_NAME, Part
from shards.packing.shard_writer import ShardWriter, sample_members
from shards.packing.staging import FinishedShard, Staging
from shards.packing.transcode import ImageOptions
from shards.samples.quarantine import Refused
from shards.sources.raw import WINDOW_SAMPLES, Source

_POSITIONS_AT_ONCE = 1 << 16
_MIN_KEY_DIGITS = 6


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
        if self.skip < 0:
            raise UsageError(f"skip must not be negative, got {self.skip}")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, got {self.seed}")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise UsageError(
                f"a value range goes from black to white, LOW:HIGH with LOW below HIGH, got "
                f"{self.value_range[0]:g}:{self.value_range[1]:g}"
            )

    def numbers(self, source: Source) -> np.ndarray:
        """Sample numbers [N] int64, in packing order.

        Raises:
            UsageError: nothing is left.
        """
        total = len(source)
        if self.skip >= total:
            raise UsageError(
                f"--skip leaves images to pack, got {self.skip:,} of the {total:,} that SOURCE "
                f"has; skip fewer"
            )
        stop = total if self.limit is None else min(total, self.skip + self.limit)
        order = _order(source, self.seed, self.skip, stop)
        return order if self.hold_out is None else self.hold_out.take(order, source.labels)

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


class PackRun:
    """Fills a staging folder with a source's samples; afterwards `refused` names the bad ones."""

    def __init__(
        self,
        source: Source,
        staging: Staging,
        options: PackOptions,
        *,
        stop_at_bad: bool,
        part: Part | None = None,
    ) -> None:
        """Go on with what `staging` holds; of a part, only with that run of the order."""
        self.staging = staging
        self.refused: list[Refused] = []
        self.converted: list[Converted] = []
        self.num_resumed = sum(shard.info.num_samples for shard in staging.finished)
        numbers = options.numbers(source)
        begin, end = part.span(len(numbers)) if part else (0, len(numbers))
        self._source, self._options, self._is_part = source, options, part is not None
        self._numbers = numbers[begin:end]
        # Journals count from the first sample of the order, packed or not.
        self._first = options.skip + begin
        self._stop_at_bad = stop_at_bad
        self._key_digits = max(_MIN_KEY_DIGITS, len(str(len(source) - 1)))
        for shard in staging.finished:
            self.converted += shard.converted
            for item in shard.refused:
                self._refuse(item)

    def fill(self, workers: int, progress: bool) -> None:
        """Pack every sample that is not in the staging folder yet.

        Raises:
            DataError: no image is good, or one is bad and the run is to stop there.
        """
        finished = self.staging.finished
        first, stop = self._first, self._first + len(self._numbers)
        start = finished[-1].next_position if finished else first
        numbers = (int(number) for number in self._numbers[start - first :])
        encoded = encode_in_order(self._source, numbers, self._options.image, workers)
        with contextlib.closing(encoded), images_bar(progress) as bar:
            task = bar.add_task("packing", total=stop - first, completed=start - first)
            self._fill(encoded, start, lambda: bar.advance(task))
        if not finished and not self._is_part:
            refused = self.refused[0]
            self._give_up(
                f"a set needs at least one good image, got none of {stop - first:,}; the first "
                f"is {refused.name}: {refused.reason}"
            )

    def _fill(
        self, encoded: Generator[Encoded, None, None], position: int, advance: Callable[[], None]
    ) -> None:
        shard: ShardWriter | None = None
        first_refused, first_converted = len(self.refused), len(self.converted)
        try:
            for item in encoded:
                if isinstance(item.result, Refused):
                    self._refuse(item.result)
                else:
                    name = item.name if self._source.stores_names else None
                    members = sample_members(item.result, item.label, name)
                    if shard is not None and self._is_full(shard, members):
                        self._finish(shard, position, first_refused, first_converted)
                        shard, first_refused = None, len(self.refused)
                        first_converted = len(self.converted)
                    if shard is None:
                        shard = self._next_shard()
                    key = f"{item.number:0{self._key_digits}d}"
                    shard.add(key, members, item.result, item.label)
                    self.converted += (Converted(item.name, c) for c in item.result.conversions)
                position += 1
                advance()
            if shard is not None:
                self._finish(shard, position, first_refused, first_converted)
        except BaseException:
            if shard is not None:
                shard.discard()
            raise

    def _next_shard(self) -> ShardWriter:
        number = len(self.staging.finished)
        return ShardWriter(self.staging.folder, f"{self._options.name}-{number:06d}.tar")

    def _is_full(self, shard: ShardWriter, members: dict[str, bytes]) -> bool:
        return shard.size_with(members) > self._options.shard_size_bytes

    def _finish(
        self, shard: ShardWriter, next_position: int, first_refused: int, first_converted: int
    ) -> None:
        bounds = shard.bounds if self._is_part else None
        info, records = shard.close()
        refused = tuple(self.refused[first_refused:])
        converted = tuple(self.converted[first_converted:])
        finished = FinishedShard(info, records, next_position, refused, converted, bounds)
        self.staging.commit(finished)

    def _refuse(self, item: Refused) -> None:
        if self._stop_at_bad:
            self._give_up(
                f"every image must decode with --on-bad fail, got {item.name}: {item.reason}; mend "
                f"or remove it, or have bad images left out and listed with --on-bad quarantine"
            )
        self.refused.append(item)

    def _give_up(self, message: str) -> None:
        self.staging.drop()
        raise DataError(message)


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
