"""One run of the packer: shard after shard, from where an interrupted run ended to the end.

The run fills a staging folder. A shard is closed when the next sample would make it too large, so
what a shard holds depends on the samples before it and on nothing else.
"""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass

from shards.errors import DataError
from shards.format import PACKER, version_of
from shards.packing.conversions import Converted
from shards.packing.encode import Encoded, encode_in_order
from shards.packing.home import Home
from shards.packing.pack_bar import images_bar
from shards.packing.pack_settings import PackOptions
from shards.packing.part import Part
from shards.packing.shard_writer import ShardWriter, sample_members
from shards.packing.staging import FinishedShard, Staging
from shards.samples.quarantine import Refused
from shards.sources.raw import Source, masks_of

_MIN_KEY_DIGITS = 6


@dataclass(frozen=True, slots=True)
class SetToPack:
    """One set to make: of what, where, how."""

    source: Source
    home: Home
    options: PackOptions
    workers: int
    stop_at_bad: bool
    progress: bool
    spec: str  # what the user called the source

    @property
    def recipe(self) -> dict[str, object]:
        """The identity of a set, in JSON types only: it is compared after a round trip."""
        packages = ("augengine", "numpy", "pillow")
        masks = masks_of(self.source)
        return {
            **({"masks": masks} if masks else {}),
            "tool": PACKER,
            "kind": self.source.kind,
            "fingerprint": self.source.fingerprint,
            "num_source_samples": len(self.source),
            "options": self.options.recorded(),
            "versions": {package: version_of(package) for package in packages},
        }


class PackRun:
    """Fills a staging folder with a source's samples; afterwards `refused` names the bad ones."""

    def __init__(self, wanted: SetToPack, staging: Staging, part: Part | None = None) -> None:
        """Go on with what `staging` holds; of a part, only with that run of the order."""
        self.staging = staging
        self.refused: list[Refused] = []
        self.converted: list[Converted] = []
        self.num_resumed = sum(shard.info.num_samples for shard in staging.finished)
        source, options = wanted.source, wanted.options
        begin, self._numbers = options.numbers(source, part)
        self._wanted, self._is_part = wanted, part is not None
        # Journals count from the first sample of the order, packed or not.
        self._first = options.skip + begin
        self._key_digits = max(_MIN_KEY_DIGITS, len(str(len(source) - 1)))
        for shard in staging.finished:
            self.converted += shard.converted
            for item in shard.refused:
                self._refuse(item)

    def fill(self) -> None:
        """Pack every sample that is not in the staging folder yet.

        Raises:
            DataError: no image is good, or one is bad and the run is to stop there.
        """
        finished = self.staging.finished
        first, stop = self._first, self._first + len(self._numbers)
        start = finished[-1].next_position if finished else first
        numbers = (int(number) for number in self._numbers[start - first :])
        source, image = self._wanted.source, self._wanted.options.image
        encoded = encode_in_order(source, numbers, image, self._wanted.workers)
        with contextlib.closing(encoded), images_bar(self._wanted.progress) as bar:
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
                    name = item.name if self._wanted.source.stores_names else None
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
        return ShardWriter(self.staging.folder, f"{self._wanted.options.name}-{number:06d}.tar")

    def _is_full(self, shard: ShardWriter, members: dict[str, bytes]) -> bool:
        return shard.size_with(members) > self._wanted.options.shard_size_bytes

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
        if self._wanted.stop_at_bad:
            self._give_up(
                f"every image must decode with --on-bad fail, got {item.name}: {item.reason}; mend "
                f"or remove it, or have bad images left out and listed with --on-bad quarantine"
            )
        self.refused.append(item)

    def _give_up(self, message: str) -> None:
        self.staging.drop()
        raise DataError(message)
