"""What is missing, wrong or silent is named with its reason, and nothing waits past its time."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from afar import ALL, Serve, corrupt, counts_of, images_of, open_at, wait_for
from faulty_server import Faults

from shards.errors import DataError
from shards.reader import SampleError, ShardReader


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_a_deleted_shard_costs_its_samples_only(folder: Path, serve: Serve, mode: str) -> None:
    """Each is named with its shard and the reason, at once."""
    index, images = open_at(serve(folder), mode), images_of(folder)
    (folder / "train-000001.tar").unlink()
    with ShardReader(index) as reader:
        reader.expect(None)
        start = time.monotonic()
        found = reader.read(ALL)
    assert time.monotonic() - start < 15
    for row, shard in zip(ALL, index.rows(ALL)["shard"], strict=True):
        error = found[row]
        if shard != 1:
            assert error == images[row]
        else:
            assert isinstance(error, SampleError)
            assert error.reason == "cannot be read: not found (404) (train-000001.tar)"


@pytest.mark.parametrize("mode", ["cache", "range"])
@pytest.mark.parametrize("size", [-600, 600])
def test_a_shard_of_another_size(folder: Path, serve: Serve, mode: str, size: int) -> None:
    """A cached one is refused by its size; of a cut one, range reads give what is still there."""
    index, images = open_at(serve(folder), mode), images_of(folder)
    path = folder / "train-000002.tar"
    # The end of a tar is zeros up to 10,240 bytes: cut into the last image.
    last = index.entry(36)
    os.truncate(path, last.offset + last.size // 2 if size < 0 else path.stat().st_size + size)
    with ShardReader(index) as reader:
        reader.expect(None)
        bad = [error for error in reader.read(ALL) if isinstance(error, SampleError)]
    num_of_shard = int(np.sum(index.rows(ALL)["shard"] == 2))
    if mode == "cache":
        assert len(bad) == num_of_shard
        assert "bytes came, must be" in bad[0].reason
    else:
        assert [error.id for error in bad] == ([36] if size < 0 else [])
    assert not [error for error in bad if error in images]


def test_a_wrong_checksum_is_asked_for_again(folder: Path, serve: Serve) -> None:
    """Of a whole shard its sha256, of an image its crc32; what stays wrong is named."""
    server = serve(folder)
    index = open_at(server)
    entry = index.entry(36)
    corrupt(folder / "train-000002.tar", entry.offset + 50)
    with ShardReader(open_at(server, "range")) as reader:
        num_requests = server.counts["requests"]
        (found,) = reader.read(np.array([36]))
        assert isinstance(found, SampleError)
        assert found.key == "00000036"
        assert "crc32 is" in found.reason
        assert server.counts["requests"] == num_requests + 3  # twice, then its name
    with ShardReader(index) as reader:
        reader.expect(None)
        (found,) = reader.read(np.array([36]))
        assert isinstance(found, SampleError)
        assert "sha256 is" in found.reason
        wait_for(lambda: counts_of(reader).get("shards", 0) >= 4)


def test_a_damaged_cache_mends_itself(folder: Path, serve: Serve) -> None:
    """A byte that rotted on the local disk is read from the server, and its shard forgotten."""
    index = open_at(serve(folder))
    with ShardReader(index) as reader:
        reader.expect(None)
        reader.read(ALL)
        entry = index.entry(36)
        cached = next((Path(os.environ["AUGENGINE_CACHE"]) / "shards").glob("train-000002*"))
        corrupt(cached, entry.offset + 50)
        assert reader.read(ALL) == images_of(folder)
        assert not cached.exists() or counts_of(reader)["shards"] == 4


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_an_outage_stops_within_its_time(folder: Path, serve: Serve, mode: str) -> None:
    """Nothing answers any more: one line, not a bad sample for each; opening says the same."""
    server = serve(folder)
    index = open_at(server, mode, timeout_s=0.6)
    server.faults = Faults(stall=1.0)
    with ShardReader(index) as reader:
        reader.expect(None)
        start = time.monotonic()
        with pytest.raises(DataError, match=r"must answer within 0\.6 s, got nothing from http"):
            reader.read(np.tile(ALL, 5))
        assert time.monotonic() - start < 15  # of 30 that it stalls
    with pytest.raises(DataError, match="must answer within"):
        open_at(server, mode, timeout_s=0.6)
    server.close()
    with pytest.raises(DataError, match="must answer within"):
        open_at(server, mode, timeout_s=0.6)


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_one_file_that_always_fails_is_no_outage(
    folder: Path, serve: Serve, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its samples are bad, in their time; the others are there."""
    server = serve(folder)
    index = open_at(server, mode, timeout_s=1.5)
    monkeypatch.setattr(server, "fault", lambda path: "fail" if "000001" in path else "")
    with ShardReader(index) as reader:
        reader.expect(None)
        found = reader.read(ALL)
    bad = [error.reason for error in found if isinstance(error, SampleError)]
    assert len(bad) == int(np.sum(index.rows(ALL)["shard"] == 1))
    assert all(" attempts in 1.5 s (train-000001.tar)" in reason for reason in bad)


def test_cancelled_reads_end_at_once(folder: Path, serve: Serve) -> None:
    """From another thread, while a request stalls; what comes later fails too."""
    server = serve(folder)
    index = open_at(server, "range", timeout_s=60)
    server.faults = Faults(stall=1.0)
    reader = ShardReader(index)
    threading.Timer(0.2, reader.cancel).start()
    start = time.monotonic()
    for _ in range(2):
        (found,) = reader.read(ALL[:1])
        assert isinstance(found, SampleError)
        assert "the reader is closed" in found.reason
    assert time.monotonic() - start < 15


def test_a_full_disk_is_one_line(
    folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops the run: every further shard would fail as well."""
    index = open_at(serve(folder))

    def full(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    with ShardReader(index) as reader:
        monkeypatch.setattr("shards.remote.requests.os.pwrite", full)
        reader.expect(np.array([1]))
        with pytest.raises(DataError, match=r"No space left.*data\.remote_cache_bytes"):
            reader.read(ALL)
    assert not list((Path(os.environ["AUGENGINE_CACHE"]) / "shards").glob("*.tar*"))
