"""A worker that does not answer stops the consumer in time, and says what it was doing."""

import threading
import time

import pytest

from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from augengine.loader.ahead import Ahead, Stalled, any_stalled
from augengine.loader.view_loader import ViewLoader
from augengine.policies import load_policy
from shards.errors import DataError
from shards.index import ShardIndex
from shards.reader import ShardReader

STALL_S = 0.2


@pytest.fixture
def gate():
    """Closed for workers until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_a_stall_raises_in_time_and_again(gate):
    """Items before it arrive; then Stalled, also on later calls; close() does not wait for it."""

    def make(number):
        if number == 2:
            gate.wait(60)
        return number

    ahead = Ahead(lambda: make, num_workers=1, prefetch=1, stall_s=STALL_S)
    assert [next(ahead), next(ahead)] == [0, 1]
    start = time.monotonic()
    for _ in range(2):
        with pytest.raises(Stalled, match=r"0\.2 s"):
            next(ahead)
    ahead.close()
    assert time.monotonic() - start < 30
    assert any_stalled()
    gate.set()
    for thread in ahead._threads:
        thread.join(10)
    assert not any_stalled()


def test_the_loader_names_the_stage(shard_folder, gate, monkeypatch):
    """DataError says which stage hangs, on which thread, and what to change."""
    monkeypatch.setattr(ShardReader, "read", lambda self, ids, records: gate.wait(60))
    index = ShardIndex.open(shard_folder)
    with ViewLoader(
        index,
        load_policy("simsiam").with_views((2,), (16,)),
        batch_size=4,
        seed=0,
        backend=create_backend("kornia", "cpu", num_threads=1),
        decoder=create_decoder("pillow", "cpu", num_threads=1),
        num_workers=1,
        stall_s=STALL_S,
    ) as loader:
        for _ in range(2):
            with pytest.raises(DataError, match=r"stall_seconds.*views-0: read for 0 s"):
                next(loader)
        thread = loader._batches._threads[0]
    gate.set()
    thread.join(10)
