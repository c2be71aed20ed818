"""Opening folders over HTTP and damaging them: how the tests of remote shards use them."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from faulty_server import FaultyServer

from shards.format import Manifest, ShardInfo
from shards.index import ShardIndex, write_index
from shards.reader import SampleError, ShardReader
from shards.remote.address import RemoteFolder
from shards.remotecache.cached_files import CachedFiles

ALL = np.arange(37)


Serve = Callable[..., FaultyServer]


def seal(folder: Path) -> Path:
    index = ShardIndex.open(folder)
    shards = [
        ShardInfo(s.name, s.num_samples, s.size_bytes, hashlib.sha256(data).hexdigest())
        for s in index.shards
        for data in [(folder / s.name).read_bytes()]
    ]
    write_index(folder, np.array(index.records), Manifest(tuple(shards), index.classes))
    return folder


def images_of(folder: Path) -> list[bytes | SampleError]:
    with ShardReader(ShardIndex.open(folder)) as reader:
        return reader.read(ALL)


def open_at(server: FaultyServer, mode: str = "cache", **options: Any) -> ShardIndex:
    return ShardIndex.open(RemoteFolder(server.url, mode, **{"timeout_s": 6.0, **options}))


def counts_of(reader: ShardReader) -> dict[str, int]:
    assert isinstance(reader._files, CachedFiles)
    return dict(reader._files.counts)


def corrupt(path: Path, place: int) -> None:
    """Flip a byte, the size stays."""
    data = bytearray(path.read_bytes())
    data[place] ^= 255
    path.write_bytes(data)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
