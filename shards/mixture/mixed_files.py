"""The tars of several folders by one number a shard, read by whoever reads each folder alone."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from shards.files import Files
from shards.tars.local_files import Place


class MixedFiles:
    """One of the `Files` (shards/files.py), made of others."""

    def __init__(self, parts: Sequence[Files], num_shards: Sequence[int]) -> None:
        """Take the files of each folder, and how many shards it has."""
        self._parts = tuple(parts)
        self._first = [0, *accumulate(num_shards)][:-1]
        # Then local ones are held to their checksum too, which costs little.
        self.is_remote = any(part.is_remote for part in parts)

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Bytes at an offset, fewer than `size` where the file ends; raises OSError."""
        part, own = self._find(shard)
        return self._parts[part].read(own, offset, size)

    def read_many(self, places: Sequence[Place]) -> list[bytes | OSError]:
        """The same for many, in order; errors are returned."""
        rows: dict[int, list[tuple[int, Place]]] = {}
        for row, (shard, offset, size) in enumerate(places):
            part, own = self._find(shard)
            rows.setdefault(part, []).append((row, (own, offset, size)))
        found: dict[int, bytes | OSError] = {}
        for part, wanted in rows.items():
            answers = self._parts[part].read_many([place for _, place in wanted])
            found |= {row: answer for (row, _), answer in zip(wanted, answers, strict=True)}
        return [found[row] for row in range(len(places))]

    def read_again(self, shard: int, offset: int, size: int) -> bytes:
        """A second opinion on bytes that were wrong; raises OSError."""
        part, own = self._find(shard)
        return self._parts[part].read_again(own, offset, size)

    def key(self, shard: int, offset: int) -> str:
        """Key of the member whose data is at `offset`; raises DataError or OSError."""
        part, own = self._find(shard)
        return self._parts[part].key(own, offset)

    def expect(self, shards: Sequence[int]) -> None:
        """Each folder hears of its own shards, in this order."""
        own: list[list[int]] = [[] for _ in self._parts]
        for shard in shards:
            part, number = self._find(shard)
            own[part].append(number)
        for part, numbers in zip(self._parts, own, strict=True):
            part.expect(numbers)

    def cancel(self) -> None:
        """Let reads that wait for a network fail now, and those that come; files stay open."""
        for part in self._parts:
            part.cancel()

    def close(self) -> None:
        """Let go of everything; harmless when done twice."""
        for part in self._parts:
            part.close()

    def _find(self, shard: int) -> tuple[int, int]:
        part = bisect_right(self._first, shard) - 1
        return part, shard - self._first[part]
