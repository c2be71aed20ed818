"""Bytes on disk: plain WebDataset tars, an index beside them, an order over them. No torch here.

Five files are what a batch meets, in this order:

    cursor.py   where the run stands in the endless stream: positions
    order.py    which sample comes at each of them: ids
    index.py    where each sample's bytes lie, how large its image is, what its class is
    files.py    who reads the bytes: from a disk, by ranges from afar, through a cache
    reader.py   the bytes, held to their crc32, or the reason why there are none

They stand on format.py (what lies in a folder of shards), store.py (how its index is written and
mapped), npy.py, atomic.py and errors.py. Everything else is in a wing; its `__init__.py` says what
it holds, and the contract `shards` in setup.cfg which wing may import which.
"""

from shards.cursor import Cursor
from shards.errors import DataError, UsageError
from shards.format import Entry
from shards.index import ShardIndex
from shards.mixture.mixed_index import MixedIndex
from shards.order import SampleOrder
from shards.reader import SampleError, ShardReader
