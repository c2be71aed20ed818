"""The samples of batches 0, 1, 2, ..., in training and in evaluation.

A batch's number is all that a worker is given. Here it becomes epochs, ids and a place in the
stream, and the reader hears which shards come next, so that remote ones are fetched ahead.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shards.cursor import Cursor
from shards.index import ShardIndex
from shards.order import SampleOrder
from shards.reader import ShardReader
from shards.remotecache.upcoming import Upcoming


@dataclass(frozen=True, slots=True)
class Drawn:
    """The samples of one batch."""

    epochs: np.ndarray  # [B] int64
    ids: np.ndarray  # [B] int64
    cursor: Cursor  # of the stream or list, behind the batch on all ranks


class Samples(Protocol):
    """The samples of a loader; may be asked by several threads."""

    order: SampleOrder | None  # replaces a bad sample; None: a bad sample is left out

    def batch(self, number: int) -> Drawn:
        """The samples of batch `number`."""
        ...


class Shuffled:
    """One rank's share of the endless stream of an order, from a cursor on."""

    def __init__(
        self,
        reader: ShardReader,
        order: SampleOrder,
        cursor: Cursor,
        batch_size: int,  # over all ranks
        rank: int,
        world: int,
    ) -> None:
        self.order: SampleOrder | None = order
        self._take = order
        self._reader = reader
        self._cursor = cursor
        self._batch_size = batch_size
        self._place = (rank, world)

    def batch(self, number: int) -> Drawn:
        """This rank's part of batch `number`."""
        start = self._cursor.advance(number * self._batch_size)
        self._reader.expect(self._take.shards_ahead(start.position))
        epochs, ids = self._take(start.positions(self._batch_size, *self._place))
        return Drawn(epochs, ids, start.advance(self._batch_size))


class Listed:
    """Every sample of a list once, in its order; the last batch holds what is left."""

    order: SampleOrder | None = None

    def __init__(
        self,
        reader: ShardReader,
        index: ShardIndex,
        ids: np.ndarray,  # [N] int64
        batch_size: int,
    ) -> None:
        self._reader = reader
        self._ids = ids
        self._batch_size = batch_size
        self._upcoming = Upcoming(index.directory, index.shards, index.rows(ids)["shard"])

    @property
    def num_batches(self) -> int:
        """Batches that hold the whole list."""
        return -(-len(self._ids) // self._batch_size)

    def batch(self, number: int) -> Drawn:
        """The samples of batch `number`; their epoch is 0."""
        first = number * self._batch_size
        self._reader.expect(self._upcoming.after(first))
        ids = self._ids[first : first + self._batch_size]
        return Drawn(np.zeros_like(ids), ids, Cursor(first + len(ids)))
