"""Views of remote shards are those of local ones; nothing that is missing is waited for."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faulty_server import Faults, FaultyServer
from small_loader import ReferenceBackend, assert_equal_views, loader_of, take

from augengine.decoders.create_decoder import create_decoder
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from shards.errors import DataError
from shards.index import ShardIndex
from shards.remote.address import DEFAULT_WINDOW_SHARDS, RemoteFolder
from shards.remotecache.cached_files import CachedFiles

Serve = Callable[..., FaultyServer]


def open_at(server: FaultyServer, mode: str = "cache", timeout_s: float = 3) -> ShardIndex:
    return ShardIndex.open(RemoteFolder(server.url, mode, timeout_s=timeout_s))


@pytest.mark.parametrize("mode", ["cache", "range"])
@pytest.mark.parametrize("num_workers", [1, 3])
def test_views_are_those_of_the_disk(
    indexed_folder: Path, serve: Serve, mode: str, num_workers: int
) -> None:
    """Bit for bit, from a server that fails and stalls, in windows of one shard, over epochs."""
    local = ShardIndex.open(indexed_folder)
    index = open_at(serve(indexed_folder, fail=0.2, stall=0.01), mode)
    remote = take(12, index, num_workers=num_workers, order=index.windowed_order(3, 1))
    assert_equal_views(remote, take(12, local, order=local.windowed_order(3, 1)))


def test_the_default_order_has_windows(indexed_folder: Path, serve: Serve) -> None:
    """Of remote shards: a global shuffle would fetch all of them before the first batch."""
    local, remote = ShardIndex.open(indexed_folder), open_at(serve(indexed_folder))
    assert local.order(0).window_shards is None
    assert remote.order(0).window_shards == DEFAULT_WINDOW_SHARDS
    assert_equal_views(
        take(5, remote), take(5, local, order=local.windowed_order(3, DEFAULT_WINDOW_SHARDS))
    )


def test_a_loader_fetches_its_window_and_the_next(indexed_folder: Path, serve: Serve) -> None:
    """And no shard a second time, epoch after epoch."""
    server = serve(indexed_folder)
    index = open_at(server)
    with loader_of(index, order=index.windowed_order(3, 1)) as loader:
        for _ in range(15):
            next(loader)
        files = loader._reader._files
        assert isinstance(files, CachedFiles)
        assert files.counts["shards"] == 3
        assert "alone" not in files.counts


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_a_deleted_shard_is_counted_and_named(new_shards, serve: Serve, mode: str) -> None:
    """Every one of its samples, once, each replaced; over the budget the run stops with names."""
    folder = new_shards()
    ShardIndex.open(folder)
    index = open_at(serve(folder), mode)
    (folder / "train-000001.tar").unlink()
    with loader_of(index, bad_budget=1.0) as loader:
        views = [next(loader) for _ in range(10)]  # two epochs and more
        bad = loader.bad_samples
    missing = np.flatnonzero(index.rows(np.arange(37))["shard"] == 1)
    assert sorted(sample.id for sample in bad) == missing.tolist()
    assert {sample.shard for sample in bad} == {"train-000001.tar"}
    assert {sample.reason for sample in bad} == {"cannot be read: not found (404)"}
    assert not np.isin(np.concatenate([v.ids for v in views]), missing).any()
    with pytest.raises(DataError, match=r"train-000001\.tar .*404"):
        take(10, index)


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_closing_waits_for_no_network(indexed_folder: Path, serve: Serve, mode: str) -> None:
    """A stalled read ends with the loader; the one who waits for a batch is told."""
    server = serve(indexed_folder)
    index = open_at(server, mode, timeout_s=60)
    server.faults = Faults(stall=1.0)
    loader = loader_of(index)
    time.sleep(0.2)
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            next(loader)
        except RuntimeError as error:
            failed.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    start = time.monotonic()
    loader.close()
    waiting.join(10)
    assert time.monotonic() - start < 15
    assert "the loader is closed" in str(failed[0])
    assert loader.bad_samples == ()


def test_an_outage_stops_the_loader(indexed_folder: Path, serve: Serve) -> None:
    """With one line about the network, and no bad sample."""
    server = serve(indexed_folder)
    index = open_at(server, "range", timeout_s=0.6)
    server.faults = Faults(stall=1.0)
    with loader_of(index) as loader:
        with pytest.raises(DataError, match="must answer within"):
            next(loader)
        assert loader.bad_samples == ()


@pytest.mark.parametrize("count", [37, 3])
def test_evaluation_fetches_what_it_reads_in_full(
    indexed_folder: Path, serve: Serve, count: int
) -> None:
    """All of a set shard by shard, a few of its images one by one; each once, in order."""
    server = serve(indexed_folder)
    index = open_at(server)
    ids = np.linspace(0, 36, count).astype(np.int64)
    before = server.counts["requests"]
    views = iter_listed_views(
        index,
        CenterSquare(12),
        8,
        backend=ReferenceBackend(),
        decoder=create_decoder("pillow", ReferenceBackend.device, num_threads=1),
        ids=ids,
        num_workers=1,
    )
    assert np.concatenate([v.ids for v in views]).tolist() == ids.tolist()
    assert server.counts["requests"] - before == 3
