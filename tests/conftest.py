"""Small folders of real JPEG shards, made once a session."""

import io
import os
import signal
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_server import Faults, FaultyServer
from PIL import Image

from shards.index import ShardIndex

NUM_SAMPLES = 37  # odd, so that no batch or world divides it
NUM_CLASSES = 3
NUM_SHARDS = 3


# In the background, as by `nohup make test &`, a shell has Ctrl-C ignored, here and in every
# process started from here; what is tested is what a signal does.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGUSR1, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

# A run that a test starts in this process says so for all that come after it, and what is asked of
# the warm Python (warm_python.py) would go on cold from there.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that no worker ends with minutes that the other cannot share."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def jpeg_of(sample_id: int) -> bytes:
    """A smooth coloured picture of 24 to 60 pixels a side, unlike any other sample's."""
    rng = np.random.default_rng(sample_id)
    width, height = rng.integers(24, 61, 2).tolist()
    coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_tars(folder: Path, num_samples: int = NUM_SAMPLES, num_shards: int | None = None) -> Path:
    """`num_samples` labelled JPEGs in NUM_SHARDS plain tars, or so many; classes in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard, ids in enumerate(np.array_split(np.arange(num_samples), num_shards or NUM_SHARDS)):
        path = folder / f"train-{shard:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for id in ids.tolist():
                _add(tar, f"{id:08d}.jpg", jpeg_of(id))
                _add(tar, f"{id:08d}.cls", str(id % NUM_CLASSES).encode())
    return folder


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="session")
def shard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """37 JPEGs in 3 shards, indexed on first use; never change it."""
    return write_tars(tmp_path_factory.mktemp("shards") / "train")


@pytest.fixture(scope="session")
def indexed_folder(shard_folder: Path) -> Path:
    """The same with its index, as it must be to be read from afar."""
    ShardIndex.open(shard_folder)
    return shard_folder


@pytest.fixture
def new_shards(tmp_path: Path) -> Callable[..., Path]:
    """Makes such a folder for one test to damage: new_shards(num_samples=37, num_shards=3)."""

    def make(num_samples: int = NUM_SAMPLES, num_shards: int = NUM_SHARDS) -> Path:
        return write_tars(tmp_path / "shards", num_samples, num_shards)

    return make


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FaultyServer]]:
    """serve(folder or host:port, **faults): an HTTP server, and an own user's cache."""
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path / "user-cache"))
    servers: list[FaultyServer] = []

    def start(source: Path | str, **faults: Any) -> FaultyServer:
        servers.append(FaultyServer(source, Faults(**faults)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
