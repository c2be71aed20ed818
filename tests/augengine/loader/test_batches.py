"""A batch asks the index once: what is read, drawn and labelled comes from the same records."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_loader import loader_of, overwrite

from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from shards.index import ShardIndex

RUNS = ("training", "evaluation")


@pytest.fixture
def index(new_shards: Callable[..., Path]) -> ShardIndex:
    """37 samples that a test may damage."""
    return ShardIndex.open(new_shards())


def batches_of(run: str, index: ShardIndex, count: int) -> list[np.ndarray]:
    """The ids of `count` batches of 8."""
    if run == "training":
        with loader_of(index, num_workers=1) as loader:
            return [next(loader).ids for _ in range(count)]
    views = iter_listed_views(
        index,
        CenterSquare(6),
        8,
        ids=np.arange(8 * count),
        num_workers=1,
        decoder="pillow",
        backend="kornia",
    )
    return [batch.ids for batch in views]


def count_rows(index: ShardIndex, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Note the ids of every look into the index from now on."""
    asked: list[np.ndarray] = []
    rows = index.rows
    monkeypatch.setattr(index, "rows", lambda ids: asked.append(np.array(ids)) or rows(ids))
    return asked


@pytest.mark.parametrize("run", RUNS)
def test_the_index_is_asked_once_a_batch(
    run: str, index: ShardIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch's ids are looked up once, by the worker that makes it."""
    asked = count_rows(index, monkeypatch)
    batches = batches_of(run, index, 3)
    looked_up = [ids.tolist() for ids in asked if len(ids) == 8]
    assert [looked_up.count(ids.tolist()) for ids in batches] == [1, 1, 1]


def test_a_substitute_is_looked_up_too(index: ShardIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its label and its size are its own, not those of the sample it stands for."""
    overwrite(index, 3)
    asked = count_rows(index, monkeypatch)
    with loader_of(index, num_workers=1, bad_budget=1.0) as loader:
        batches = [next(loader) for _ in range(len(index) // 8 + 1)]
    assert [bad.id for bad in loader.bad_samples] == [3]
    # Once for the key of the bad one, whose shard is known, and once for its substitute.
    assert len(alone := [int(ids[0]) for ids in asked if len(ids) == 1]) == 2
    assert alone[0] == 3 != alone[1]
    for views in batches:
        assert views.labels.tolist() == index.labels(views.ids).tolist()
        assert views.plan.image_sizes.tolist() == index.sizes(views.ids).tolist()
