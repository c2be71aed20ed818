"""All ranks make an encoder's features, each its share, and find what one process finds."""

import json
import subprocess
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sets import write_set
from torch.utils._python_dispatch import TorchDispatchMode
from warm_python import environment, warm_python

from trainer.eval import on_all
from trainer.eval.knn import BLOCK, knn_predict, merge, nearest, vote
from trainer.eval.on_all import own_run

HERE = Path(__file__).parent
TRAIN, TEST, TORN = 43, 6, (3, 17, 40)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """What the ranks of worlds of 1, 2 and 3 found, with sizes that nothing divides."""
    folder = tmp_path_factory.mktemp("sets")
    looks = [i % 4 for i in range(TRAIN)]
    train = write_set(folder / "train", [i % 3 for i in range(TRAIN)], looks, torn=TORN)
    test = write_set(folder / "test", [i % 3 for i in range(TEST)], seed=9, torn=[1])
    # Of six batches the middle ones are whole: no rank's share alone is over the budget of all.
    broken = write_set(folder / "broken", [0] * 24, seed=5, torn=(0, 1, 10, 16, 22, 23))
    done = subprocess.run(
        [warm_python(), str(HERE / "shared_ranks.py"), str(train), str(test), str(broken)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_any_number_of_ranks_finds_the_same(worlds: list[list[dict[str, Any]]]) -> None:
    """Features bit by bit, kNN and probes, also where a rank has no held-out image."""
    (alone,), *others = worlds
    for world in others:
        assert all(found["scores"] == alone["scores"] for found in world)
        assert all(found["features"] == alone["features"] for found in world)
        assert all(found["left_out"] == alone["left_out"] == [len(TORN), 1] for found in world)
        # Own statistics are given back; nobody has all the work.
        assert all(found["is_left"] for found in world)
        shares = [found["shares"][0] for found in world]
        assert sum(shares) == alone["shares"][0] == TRAIN - len(TORN)
        assert max(shares) - min(shares) <= 6


def test_images_that_cannot_be_read_are_met_once(worlds: list[list[dict[str, Any]]]) -> None:
    """Each by the rank whose share it is in; the first one met others while it calibrated."""
    for world in worlds[1:]:
        assert all(found["met"] <= len(TORN) + 1 for found in world)
        assert sum(found["met"] for found in world[1:]) >= 1


def test_too_many_are_too_many_for_all(worlds: list[list[dict[str, Any]]]) -> None:
    """Every rank ends in the words of one process, though no share alone is over the budget."""
    (alone,), *others = worlds
    assert alone["broken"].startswith("DataError: at most ")
    for world in others:
        assert {found["broken"] for found in world} == {alone["broken"]}


def test_a_signal_to_one_rank_gives_up_for_all(worlds: list[list[dict[str, Any]]]) -> None:
    """Also for those that were told nothing."""
    assert {found["stopped"] for world in worlds for found in world} == {"GivenUp: "}


def test_shares_are_whole_batches_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together all images once, at most a batch apart, for any sizes."""
    for world, size, num in [(1, 4, 10), (3, 4, 10), (8, 256, 50_000), (5, 7, 1), (4, 3, 0)]:
        ids, runs = torch.arange(num).numpy(), []
        monkeypatch.setattr(on_all, "world_size", lambda world=world: world)
        for number in range(world):
            monkeypatch.setattr(on_all, "rank", lambda number=number: number)
            runs.append(own_run(ids, size).tolist())
        assert list(chain(*runs)) == ids.tolist()
        assert all(run[0] % size == 0 for run in runs if run)
        batches = [-(-len(run) // size) for run in runs]
        assert max(batches) - min(batches) <= 1


def test_neighbours_of_parts_are_those_of_all() -> None:
    """However blocks are dealt out, also with equal similarities of different classes."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-1, 2, (90, 3), generator=generator).float()  # few, so many are equal
    labels = torch.randint(5, (90,), generator=generator)
    queries = torch.randn(40, 3, generator=generator)
    blocks = [7, 1, 30, 2, 25, 25]
    whole = nearest(values, labels, blocks, queries, 9, 11)
    for cuts in ([0, 3, 6], [0, 1, 2, 6], [0, 0, 4, 6]):
        parts = []
        for first, end in pairwise(cuts):
            rows = slice(sum(blocks[:first]), sum(blocks[:end]))
            parts.append(nearest(values[rows], labels[rows], blocks[first:end], queries, 9, 11))
        found = merge(parts)
        assert torch.equal(found.similarities, whole.similarities)
        assert torch.equal(found.labels, whole.labels)
        assert torch.equal(vote(found, 0.07), vote(whole, 0.07))


class _Largest(TorchDispatchMode):
    """The most numbers of a tensor that the body makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not func.is_view:
            self.numbers = max(self.numbers, result.numel())
        return result


def test_memory_does_not_grow_with_the_training_images() -> None:
    """No tensor is larger than the queries, a chunk of products, or the neighbours."""
    train, queries, k = torch.randn(20_000, 8), torch.randn(300, 8), 5
    labels = torch.arange(len(train)) % 10
    with _Largest() as largest:
        nearest(train, labels, [100] * 200, queries, k, chunk=50)
    assert largest.numbers <= max(queries.numel(), 50 * 100, len(queries) * k)
    with _Largest() as largest:
        knn_predict(train, labels, queries, k=k, chunk=50)
    assert largest.numbers <= 50 * BLOCK
