"""Bytes on disk: plain WebDataset tars, an index beside them, an order over them. No torch here."""

from shards.cursor import Cursor
from shards.errors import DataError, UsageError
from shards.format import Entry
from shards.index import ShardIndex
from shards.order import SampleOrder
from shards.reader import SampleError, ShardReader
