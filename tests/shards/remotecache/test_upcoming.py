"""What a list of reads needs whole: shards that it reads much of, in order, as long as it does."""

from pathlib import Path

import numpy as np

from shards.index import ShardIndex
from shards.remotecache.upcoming import Upcoming


def upcoming_of(index: ShardIndex, ids: np.ndarray) -> Upcoming:
    """What reading these samples needs."""
    return Upcoming(index.directory, index.shards, index.rows(ids)["shard"])


def test_a_whole_set_needs_every_shard(shard_folder: Path) -> None:
    """Each until its last sample is past."""
    index = ShardIndex.open(shard_folder)
    shards = index.rows(np.arange(37))["shard"]
    upcoming = upcoming_of(index, np.arange(37))
    for position in range(38):
        assert upcoming.after(position).tolist() == np.unique(shards[position:]).tolist()


def test_any_order_will_do(shard_folder: Path) -> None:
    """Those that are done with first come first."""
    index = ShardIndex.open(shard_folder)
    upcoming = upcoming_of(index, np.arange(37)[::-1])
    assert upcoming.after(0).tolist() == [2, 1, 0]
    assert upcoming.after(36).tolist() == [0]


def test_a_few_samples_need_no_shard(shard_folder: Path) -> None:
    """They are read one by one."""
    index = ShardIndex.open(shard_folder)
    assert upcoming_of(index, np.array([0, 20, 36])).after(0).tolist() == []
    many = np.append(np.arange(13), 36)
    assert upcoming_of(index, many).after(0).tolist() == [0]
    assert upcoming_of(index, np.array([], dtype=np.int64)).after(0).tolist() == []
