"""What is fetched ahead is the newest list, whoever says it when, and whatever goes wrong."""

import threading
from pathlib import Path

import numpy as np
import pytest
from afar import Serve, open_at, wait_for

from shards.reader import ShardReader
from shards.remotecache.cached_files import CachedFiles
from shards.remotecache.prefetch import Prefetch


class Fetcher:
    """Fetches when it is let, and may fail."""

    def __init__(self, fails: bool = False) -> None:
        self.fetched: list[int] = []
        self.go = threading.Event()
        self.fails = fails
        self.prefetch = Prefetch(self.fetch)

    def fetch(self, item: int) -> None:
        self.go.wait(10)
        self.fetched.append(item)
        if self.fails:
            raise RuntimeError("what nobody thought of")


def test_a_newer_list_replaces_what_has_not_begun() -> None:
    """What is being fetched is finished, and not fetched twice."""
    fetcher = Fetcher()
    fetcher.prefetch.replace([1, 2, 3, 4])
    wait_for(lambda: fetcher.prefetch._busy == {1, 2})
    fetcher.prefetch.replace([2, 5])
    fetcher.go.set()
    wait_for(lambda: len(fetcher.fetched) == 3)
    assert sorted(fetcher.fetched) == [1, 2, 5]
    fetcher.prefetch.close()


def test_a_failure_does_not_hold_its_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """An item that failed can be fetched by whoever asks for it next."""
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    fetcher = Fetcher(fails=True)
    fetcher.go.set()
    fetcher.prefetch.replace([1])
    wait_for(lambda: fetcher.fetched == [1] and not fetcher.prefetch._busy)


@pytest.mark.parametrize("error", [RuntimeError("odd"), MemoryError(), KeyError("odd")])
def test_an_odd_failure_is_for_the_one_who_reads(
    indexed_folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The threads that fetch ahead live on, and fetch what is said next."""
    with ShardReader(open_at(serve(indexed_folder))) as reader:
        files = reader._files
        assert isinstance(files, CachedFiles)
        real, failed = files._cache.fetch, threading.Event()

        def fail(*args: object, **more: object) -> int | None:
            failed.set()
            raise error

        monkeypatch.setattr(files._cache, "fetch", fail)
        files.expect([0, 1, 2])
        reader.read(np.array([], dtype=np.int64))
        assert failed.wait(10)
        wait_for(lambda: not files._prefetch._items and not files._prefetch._busy)
        monkeypatch.setattr(files._cache, "fetch", real)
        files.expect([2, 1, 0])
        reader.read(np.array([], dtype=np.int64))
        wait_for(lambda: files.counts["shards"] == 3)


def test_no_list_is_lost_at_a_windows_border(indexed_folder: Path, serve: Serve) -> None:
    """Of two threads that say two lists at once, the one said last is the one fetched."""
    with ShardReader(open_at(serve(indexed_folder))) as reader:
        files = reader._files
        assert isinstance(files, CachedFiles)
        asked, go = threading.Event(), threading.Event()
        bound = files._cache.max_bytes

        class SlowCache:
            """Lets the first who asks for the bound wait: in the middle of saying a list."""

            @property
            def max_bytes(self) -> int:
                if not asked.is_set():
                    asked.set()
                    assert go.wait(10)
                return bound

            def __getattr__(self, name: str) -> object:
                return getattr(cache, name)

        cache, files._cache = files._cache, SlowCache()  # type: ignore[assignment]
        late = threading.Thread(target=files.expect, args=([0, 1],))  # of the window before
        late.start()
        assert asked.wait(10)
        files.expect([1, 2])
        go.set()
        late.join()
        files.expect([1, 2])  # the next batch of the newer window
        files.read_many([])
        wait_for(lambda: files.counts["shards"] == 2)
        assert cache.open(files._names[2]) is not None
        assert cache.open(files._names[0]) is None
