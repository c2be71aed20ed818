"""A loader that is given a name, or a number that is none, says so in one line before it starts."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_loader import POLICY, assert_equal_views, loader_of, take

from augengine.loader.arguments import whole
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from augengine.loader.view_loader import ViewLoader
from shards.cursor import Cursor
from shards.errors import UsageError
from shards.index import ShardIndex


@pytest.fixture
def index(shard_folder: Path) -> ShardIndex:
    return ShardIndex.open(shard_folder)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"cursor": 5}, "write Cursor(POSITION)"),
    ({"cursor": None}, "write Cursor(POSITION)"),
    ({"cursor": Cursor}, "write Cursor(POSITION)"),
    ({"cache": "host"}, "create_cache"),
    ({"order": "shuffled"}, "write index.order(SEED)"),
    ({"batch_size": 8.0}, "batch_size is a whole number, got 8.0"),
    ({"batch_size": True}, "batch_size is a whole number, got True"),
    ({"seed": "0"}, "seed is a whole number, got '0'"),
    ({"num_workers": "2"}, "num_workers is a whole number"),
    ({"prefetch": None}, "prefetch is a whole number"),
    ({"rank": "0"}, "rank is a whole number"),
    ({"world": 1.0}, "world is a whole number"),
    ({"bad_budget": "x"}, "bad_budget is a number from 0 on, got 'x'; write bad_budget=0.001"),
    ({"stall_s": "5"}, "stall_s is a number from 0 on, got '5'"),
    ({"stall_s": float("nan")}, "stall_s is a number from 0 on, got nan"),
    ({"decoded_bytes": -1}, "decoded_bytes is a number from 0 on, got -1"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=lambda value: str(value)[:30])
def test_an_argument_of_another_kind(index: ShardIndex, wrong: dict, words: str) -> None:
    """The argument, what was given and what to write; no thread is left."""
    before = threading.active_count()
    with pytest.raises(UsageError) as caught:
        loader_of(index, **wrong)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert threading.active_count() == before


def test_names_belong_to_open_views(index: ShardIndex) -> None:
    """A folder or a policy's name in an object's place: the message names who takes it."""
    settings: Any = {"batch_size": 8, "seed": 0, "device": "cpu"}
    wrong: Any = str(index.directory)
    with pytest.raises(UsageError, match=r"ShardIndex.open\(FOLDER\); augengine.open_views"):
        ViewLoader(wrong, POLICY, **settings)
    with pytest.raises(UsageError, match=r"augengine.open_views takes its name"):
        ViewLoader(index, "swav", **settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"index is an open index"):
        next(iter_listed_views(wrong, CenterSquare(8), 16))
    with pytest.raises(UsageError, match=r"size_px is a whole number"):
        next(iter_listed_views(index, CenterSquare("8"), 16))  # type: ignore[arg-type]


def test_numpys_numbers_are_numbers(index: ShardIndex) -> None:
    """A batch size out of an array gives the views of the plain one."""
    numbers = {"batch_size": np.int64(8), "seed": np.int32(3), "num_workers": np.int8(1)}
    assert_equal_views(take(2, index, **numbers), take(2, index))
    assert type(whole("rank", np.uint8(3))) is int
