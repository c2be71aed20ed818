"""The overlap of two sets, byte by byte: a score of images that were trained on is worth little.

Told from the index alone, by crc32 and number of bytes of the encoded image: among a million
training and fifty thousand held-out images chance alone would make some ten pairs of the same
crc32, and none of the same size besides. An image that was encoded anew is another one here.
"""

from collections.abc import Iterator

import numpy as np

from shards.index import ShardIndex

_CHUNK = 1 << 22  # records of an index that are looked at together
_LOW_BITS = 24


def shared_images(
    train: ShardIndex,
    test: ShardIndex,
    test_ids: np.ndarray,  # [M] int64
) -> int:
    """The number of these held-out images that are in the training set."""
    keys = _keys(test.rows(test_ids))
    unique, places = np.unique(keys, return_inverse=True)
    is_shared = np.zeros(len(unique), bool)
    # Most training images are ruled out by a table that fits into a processor's cache.
    may_be = np.zeros(1 << _LOW_BITS, bool)
    may_be[_low_bits(unique)] = True
    for records in _chunks(train):
        chunk = _keys(records)
        chunk = chunk[may_be[_low_bits(chunk)]]
        found = np.minimum(np.searchsorted(unique, chunk), len(unique) - 1)
        is_shared[found[unique[found] == chunk]] = True
    return int(is_shared[places].sum())


def repeated_images(index: ShardIndex) -> int | None:
    """The number of images that copy another one; None where counting would take long."""
    if len(index) > _CHUNK:
        return None
    return len(index) - len(np.unique(_keys(index.chunk(0, len(index)))))


def _keys(records: np.ndarray) -> np.ndarray:
    """[N] uint64: crc32 in the lower half, bytes in the upper."""
    sizes = records["size"].astype(np.uint64)
    return (sizes << np.uint64(32)) | records["crc32"].astype(np.uint64)


def _low_bits(keys: np.ndarray) -> np.ndarray:
    return keys & np.uint64((1 << _LOW_BITS) - 1)


def _chunks(index: ShardIndex) -> Iterator[np.ndarray]:
    for first in range(0, len(index), _CHUNK):
        yield index.chunk(first, first + _CHUNK)
