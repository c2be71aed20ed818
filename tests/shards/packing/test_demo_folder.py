"""The name `demo` is a folder of shards, packed once for all who ask."""

from pathlib import Path

import pytest

import shards.sources.demo_set as demo_set
from shards.errors import UsageError
from shards.index import ShardIndex
from shards.packing.demo_folder import data_folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache without a demo set, and small splits."""
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(demo_set, "NUM_IMAGES", {"train": 24, "test": 12})
    return tmp_path / "cache"


def test_it_is_packed_once(cache: Path) -> None:
    """By the first who asks; `demo` is `demo:train`, and the test images are others."""
    folder = data_folder("demo")
    assert cache in folder.parents
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert data_folder("demo:train") == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    train, test = (ShardIndex.open(data_folder(name)) for name in ("demo", "demo:test"))
    assert (len(train), len(test)) == (24, 12)
    assert train.classes == test.classes
    assert not set(train.records["crc32"]) & set(test.records["crc32"])


def test_any_other_name_is_a_path(cache: Path) -> None:
    """Nothing is packed for it."""
    for name in ("sets/demo", "./demo", "demos"):
        assert data_folder(name) == Path(name)
    assert not cache.exists()


def test_a_split_that_there_is_not(cache: Path) -> None:
    """It is refused before anything is written."""
    with pytest.raises(UsageError, match="splits are train, test, got 'val'"):
        data_folder("demo:val")
    assert not cache.exists()
