"""Processes of a machine keep one copy of the set, not one each; where they cannot, it is said."""

import gc
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from small_loader import CPU, loader_of, views_by_sample

from augengine.caches.sample_cache import EncodedCache, create_cache
from augengine.caches.slots import Slots
from augengine.devices.shared_memory import SharedBlock
from shards.index import ShardIndex


class Neighbours:
    """Two processes, of which this one is asked."""

    def __init__(self, memory: dict[int, torch.Tensor] | None, first: int = 0) -> None:
        self.memory, self.first = memory, first

    def __len__(self) -> int:
        return 2

    def agree(self, number: int) -> int:
        return self.first or number

    def share(self, num_bytes: int) -> torch.Tensor | None:
        if self.memory is None:
            return None
        return self.memory.setdefault(num_bytes, torch.zeros(num_bytes, dtype=torch.uint8))


@pytest.fixture
def index(shard_folder: Path) -> ShardIndex:
    return ShardIndex.open(shard_folder)


def encoded_cache(index: ShardIndex, max_bytes: int | None, neighbours: Neighbours) -> EncodedCache:
    cache = create_cache("host", index, CPU, max_bytes, neighbours)
    assert isinstance(cache, EncodedCache)
    return cache


def test_what_one_keeps_the_other_finds(index: ShardIndex) -> None:
    """Half of the set from each: both find all of it, and views are those without a cache."""
    half = int(index.records["size"].sum()) // 2 + 1
    memory: dict[int, torch.Tensor] = {}
    caches = [encoded_cache(index, half, Neighbours(memory)) for _ in range(2)]
    assert all("all 37 encoded images" in cache.note for cache in caches)
    assert all("one copy for the 2 processes" in cache.note for cache in caches)
    seen, reads = [], []
    for cache in caches:
        with loader_of(index, cache=cache) as loader:
            seen.append(views_by_sample([next(loader) for _ in range(9)]))
            reads.append(loader.meter.snapshot().stages["read"].images)
    assert seen[0] == seen[1]
    assert reads[0] >= 37
    assert reads[1] == 0
    found = [cache.get(np.arange(37)) for cache in caches]
    assert found[0] == found[1]
    assert None not in found[0]


def test_without_shared_memory_each_has_its_part(index: ShardIndex) -> None:
    """The bound of each is its own, and the note says what that costs."""
    half = int(index.records["size"].sum()) // 2
    cache = encoded_cache(index, half, Neighbours(None))
    assert not cache.is_shared
    assert "each of the 2 processes of this machine has a copy of its own" in cache.note
    assert cache._slots.num_bytes <= half


def test_all_take_the_first_ones_size(index: ShardIndex) -> None:
    """What is free when the second asks is another number."""
    memory: dict[int, torch.Tensor] = {}
    for max_bytes in (9_000, 9_999):
        encoded_cache(index, max_bytes, Neighbours(memory, first=12_345))
    assert len(memory) == 1
    assert next(iter(memory)) <= 12_345 + 37


def test_slots_of_two_processes_fill_one_memory() -> None:
    """Each claims for itself; one that died before it published leaves the slot to the other."""
    memory: dict[int, torch.Tensor] = {}
    sizes = np.array([4, 0, 4])
    first, second = (Slots(sizes, 99, share=Neighbours(memory).share) for _ in range(2))
    ids = np.arange(3)
    assert first.claim(ids) == [0, 2]
    assert first.claim(ids) == []
    assert second.claim(ids) == [0, 2]
    second.slot(0)[:] = torch.arange(4, dtype=torch.uint8)
    second.publish([0])
    assert first.filled(ids).tolist() == [True, False, False]
    assert first.slot(0).tolist() == [0, 1, 2, 3]
    assert second.claim(ids) == []


def _fill(address: str, num_bytes: int) -> None:
    block = SharedBlock.open(address, num_bytes)
    assert block is not None
    block.tensor[:3] = torch.tensor([7, 8, 9], dtype=torch.uint8)


@pytest.mark.parametrize("num_bytes", [3, 1 << 20])
def test_a_block_is_one_for_all_processes(num_bytes: int) -> None:
    """What another writes is read here, and closed to newcomers it stays."""
    block = SharedBlock.make(num_bytes)
    assert block is not None
    assert not block.tensor.any()
    process = multiprocessing.get_context("spawn").Process(
        target=_fill, args=(block.address, num_bytes)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert block.tensor[:3].tolist() == [7, 8, 9]
    address = block.address
    block.close()
    block.close()
    assert SharedBlock.open(address, num_bytes) is None
    assert block.tensor[:3].tolist() == [7, 8, 9]


def test_a_block_that_cannot_be_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """More than is free, another size, no such process, a system without: no descriptor is left."""
    gc.collect()  # what earlier tests left open
    before = len(os.listdir("/proc/self/fd"))
    assert SharedBlock.make(1 << 60) is None
    (tmp_path / "a").write_bytes(bytes(9))
    assert SharedBlock.open(str(tmp_path / "a"), 10) is None
    assert SharedBlock.open("/proc/0/fd/3", 10) is None
    monkeypatch.delattr(os, "memfd_create")
    assert SharedBlock.make(10) is None
    assert len(os.listdir("/proc/self/fd")) == before
