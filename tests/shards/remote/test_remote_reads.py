"""Shards behind a web server, good or bad, are those of the disk; a cache is used as announced."""

import os
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from afar import ALL, Serve, counts_of, images_of, open_at, wait_for

from shards.errors import UsageError
from shards.index import ShardIndex
from shards.reader import ShardReader
from shards.remotecache.cache_window import note_on_window


@pytest.mark.parametrize("mode", ["cache", "range"])
@pytest.mark.parametrize("expected", [True, False])
def test_bytes_and_keys_are_those_of_the_disk(
    folder: Path, serve: Serve, mode: str, expected: bool
) -> None:
    """By either mode, announced or not, and by the same fingerprint."""
    index = open_at(serve(folder), mode)
    assert index.fingerprint == ShardIndex.open(folder).fingerprint
    assert index.key(20) == "00000020"
    with ShardReader(index) as reader:
        if expected:
            reader.expect(None)
        assert reader.read(ALL) == images_of(folder)
        assert reader.read(ALL[::-1]) == images_of(folder)[::-1]
    assert pickle.loads(pickle.dumps(index)).fingerprint == index.fingerprint


def test_announced_shards_are_fetched_once_and_ahead(folder: Path, serve: Serve) -> None:
    """From the first read on; afterwards, and in a second run, nothing is asked of the server."""
    server = serve(folder)
    index = open_at(server)
    with ShardReader(index) as reader:
        reader.expect(np.array([2, 0]))
        time.sleep(0.1)
        assert not counts_of(reader)
        reader.read(np.array([], dtype=np.int64))
        wait_for(lambda: counts_of(reader).get("shards") == 2)
        num_requests = server.counts["requests"]
        shards = index.rows(ALL)["shard"]
        assert all(isinstance(found, bytes) for found in reader.read(ALL[shards != 1]))
        assert server.counts["requests"] == num_requests
        reader.read(ALL[shards == 1])  # not announced: image by image
        assert counts_of(reader) == {
            "shards": 2,
            "bytes": index.shards[0].size_bytes + index.shards[2].size_bytes,
            "hit": int(np.sum(shards != 1)),
            "alone": int(np.sum(shards == 1)),
        }
    with ShardReader(open_at(server)) as reader:
        reader.expect(np.array([2, 0]))
        reader.read(ALL[shards != 1])
        assert set(counts_of(reader)) == {"hit"}


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_a_bad_network_changes_no_byte(folder: Path, serve: Serve, mode: str) -> None:
    """A fifth of the requests fail or are reset, some break off, some stall."""
    server = serve(folder, fail=0.2, cut=0.05, stall=0.01)
    index = open_at(server, mode, timeout_s=3)
    for part in range(3):
        with ShardReader(index) as reader:
            reader.expect(None)
            assert reader.read(ALL) == images_of(folder)
        shutil.rmtree(Path(os.environ["AUGENGINE_CACHE"]) / "shards", ignore_errors=True)
        assert server.counts["requests"] >= 3 * (part + 1)
    assert server.counts["fail"] + server.counts["reset"] + server.counts["cut"]


def test_a_server_of_whole_files_serves_the_cache(folder: Path, serve: Serve) -> None:
    """Range mode is refused when opened; the cache fetches whole shards also for single images."""
    server = serve(folder, ranges=False, cut=0.2, fail=0.1)
    with pytest.raises(UsageError, match=r"sends whole ones; read it with data\.remote=cache"):
        open_at(server, "range")
    with ShardReader(open_at(server)) as reader:
        assert reader.read(ALL) == images_of(folder)
        assert counts_of(reader)["waited"] == 3


def test_a_bound_below_what_is_needed_is_refused(folder: Path, serve: Serve) -> None:
    """Below the largest shard, or below what is shuffled together: one line with both sizes."""
    server = serve(folder)
    largest = max(path.stat().st_size for path in folder.glob("*.tar"))
    with pytest.raises(UsageError, match=r"holds the largest.*data\.remote_cache_bytes"):
        open_at(server, cache_bytes=largest - 1)
    index = open_at(server, cache_bytes=2 * largest)
    ask = (index.directory, index.shards)
    assert note_on_window([ask], 1)
    assert "less than two windows" in str(note_on_window([ask], 2))
    for window in (3, None):
        with pytest.raises(UsageError, match=f"loop.window_shards={window}, got"):
            note_on_window([ask], window)
    with ShardReader(index) as reader:
        reader.expect(None)
        assert reader.read(ALL) == images_of(folder)
