"""A part of remote labels with a small cache: each image once an epoch, each shard about once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faulty_server import FaultyServer

from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from augengine.loader.view_loader import ViewLoader
from augengine.policy import CropGroup, Policy, ViewPolicy
from shards import reader as reader_module
from shards.index import ShardIndex
from shards.reader import ShardReader
from shards.remote.address import RemoteFolder
from shards.remotecache.cache_window import fitting_window
from shards.remotecache.cached_files import CachedFiles
from trainer.eval.subset import SubsetOrder, label_subset

NUM_SHARDS, NUM_SAMPLES = 20, 400
Serve = Callable[..., FaultyServer]


@pytest.fixture
def folder(new_shards: Callable[..., Path]) -> Path:
    path = new_shards(NUM_SAMPLES, NUM_SHARDS)
    ShardIndex.open(path)
    return path


def open_at(server: FaultyServer, tmp_path: Path, shards_held: int) -> ShardIndex:
    """With a cache that holds so many shards."""
    largest = max(path.stat().st_size for path in Path(str(server.source)).glob("*.tar"))
    folder = RemoteFolder(
        server.url, "cache", tmp_path / "whole", shards_held * largest, timeout_s=10
    )
    return ShardIndex.open(folder)


def read(index: ShardIndex, order: SubsetOrder, epochs: int, batch: int = 8) -> dict[str, int]:
    """Go through the order as a loader does; how the images came."""
    with ShardReader(index) as reader:
        for start in range(0, epochs * order.num_samples, batch):
            positions = np.arange(start, min(start + batch, epochs * order.num_samples))
            reader.expect(order.shards_ahead(start))
            assert all(isinstance(found, bytes) for found in reader.read(order(positions)[1]))
        assert isinstance(reader._files, CachedFiles)
        return {"shards": 0, "alone": 0, **reader._files.counts}


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("has_ranges", [True, False])
@pytest.mark.parametrize("held", [2, 5])
def test_a_shard_is_fetched_about_once_an_epoch(
    folder: Path, tmp_path: Path, serve: Serve, share: float, has_ranges: bool, held: int
) -> None:
    """Whatever share of the labels, whether the server sends parts; for a few images none is."""
    index = open_at(serve(folder, ranges=has_ranges), tmp_path, held)
    ids = label_subset(index.labels(np.arange(NUM_SAMPLES)), share)
    order = SubsetOrder(ids, 3, index)
    counts = read(index, order, epochs=2)
    assert counts["shards"] <= 2 * NUM_SHARDS * 1.2
    if share < 0.25 and has_ranges:
        assert counts["shards"] <= NUM_SHARDS / 2
    if share == 1.0:
        assert counts["alone"] == 0


def test_what_comes_later_waits_for_what_is_read(
    folder: Path, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards fetched ahead push out none that the same batch is read from."""
    index = open_at(serve(folder), tmp_path, 5)
    with ShardReader(index) as reader:
        assert isinstance(reader._files, CachedFiles)
        prefetch, told = reader._files._prefetch, []
        monkeypatch.setattr(prefetch, "replace", lambda items: told.append(list(items)))
        reader.expect(np.array([3, 1, 2]))
        assert told == []
        reader.read(np.flatnonzero(index.rows(np.arange(NUM_SAMPLES))["shard"] == 3)[:2])
    now, later = told
    assert now == [3]
    assert later[:2] == [3, 1]


def test_a_cache_that_holds_them_fetches_each_once(
    folder: Path, tmp_path: Path, serve: Serve
) -> None:
    """For good: also those of which little is read, since every epoch reads it."""
    index = open_at(serve(folder), tmp_path, NUM_SHARDS + 1)
    ids = label_subset(index.labels(np.arange(NUM_SAMPLES)), 0.1)
    touched = len(np.unique(index.rows(ids)["shard"]))
    counts = read(index, SubsetOrder(ids, 3, index), epochs=4)
    assert (counts["shards"], counts["alone"]) == (touched, 0)


@pytest.mark.parametrize("held", [1, 3, 50])
def test_an_epoch_has_every_image_once(
    folder: Path, tmp_path: Path, serve: Serve, held: int
) -> None:
    """In windows as without, in another order each time, and bad ones are replaced by others."""
    index = open_at(serve(folder), tmp_path, held)
    ids = np.sort(np.random.default_rng(0).permutation(NUM_SAMPLES)[:61])
    order = SubsetOrder(ids, 3, index)
    epochs, seen = order(np.arange(4 * 61))
    rounds = seen.reshape(4, 61)
    assert (np.sort(rounds, axis=1) == ids).all()
    assert len({tuple(row) for row in rounds.tolist()}) == 4
    others = order.substitute(epochs, seen, 0)
    assert np.isin(others, ids).all()
    assert (others != seen).all()
    window = order.window_shards
    assert window is not None
    for position in range(0, 4 * 61, 7):
        shard = index.rows(order(np.array([position]))[1])["shard"][0]
        whole = order._is_whole
        assert whole is not None
        assert shard in order.shards_ahead(position) or not whole[shard]


def test_on_a_disk_it_is_the_order_that_it_was(folder: Path) -> None:
    """Shuffled together: the index changes nothing where nothing is fetched."""
    index, ids = ShardIndex.open(folder), np.arange(5, 90, 3)
    positions = np.arange(200)
    here, former = SubsetOrder(ids, 3, index)(positions), SubsetOrder(ids, 3)(positions)
    assert np.array_equal(here, former)


def test_a_window_fits_the_cache_twice(folder: Path, tmp_path: Path, serve: Serve) -> None:
    """While one is read the next is fetched; one shard at least, and none on a disk."""
    server = serve(folder)
    sizes = [100, 100, 50]
    assert fitting_window(folder, sizes) is None
    for held, window in ((100, 1), (399, 1), (400, 2), (500, 3), (10**9, 3)):
        place = RemoteFolder(server.url, cache=tmp_path / "c", cache_bytes=held)
        assert fitting_window(place, sizes) == window
        assert fitting_window(replace(place, mode="range"), sizes) is None


@pytest.mark.parametrize("what", ["all", "half", "few", "jumping"])
def test_evaluation_fetches_a_shard_about_once(
    folder: Path, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Ascending ids whole or alone; a list that jumps about image by image, in its order."""
    opened: list[ShardReader] = []
    init = ShardReader.__init__

    def remember(self: ShardReader, *args: object, **more: object) -> None:
        init(self, *args, **more)  # type: ignore[arg-type]
        opened.append(self)

    monkeypatch.setattr(reader_module.ShardReader, "__init__", remember)
    index = open_at(serve(folder), tmp_path, 3)
    mixed = np.random.default_rng(0).permutation(NUM_SAMPLES)
    ids = {
        "all": np.arange(NUM_SAMPLES),
        "half": np.sort(mixed[:200]),
        "few": np.sort(mixed[:30]),
        "jumping": mixed,
    }[what]
    views = iter_listed_views(
        index,
        CenterSquare(8),
        16,
        backend=create_backend("kornia", "cpu"),
        decoder=create_decoder("pillow", "cpu"),
        ids=ids,
    )
    assert np.concatenate([batch.ids for batch in views]).tolist() == ids.tolist()
    files = opened[-1]._files
    assert isinstance(files, CachedFiles)
    assert files.counts["shards"] <= {"all": 30, "half": 30, "few": 3, "jumping": 0}[what]


def test_a_loader_of_a_part_fetches_about_once(folder: Path, tmp_path: Path, serve: Serve) -> None:
    """On two threads, with views made of what came."""
    index = open_at(serve(folder), tmp_path, 4)
    ids = label_subset(index.labels(np.arange(NUM_SAMPLES)), 0.5)
    policy = Policy(name="one", groups=(CropGroup(1, 8, (ViewPolicy(scale=(0.5, 1.0)),)),))
    with ViewLoader(
        index,
        policy,
        batch_size=20,
        seed=0,
        backend=create_backend("kornia", "cpu"),
        decoder=create_decoder("pillow", "cpu"),
        order=SubsetOrder(ids, 0, index),
    ) as loader:
        seen = np.concatenate([next(loader).ids for _ in range(len(ids) // 20)])
        files = loader._reader._files
        assert isinstance(files, CachedFiles)
        assert files.counts["shards"] <= 1.5 * NUM_SHARDS
    assert len(set(seen.tolist())) == len(seen)
