"""A cursor is one integer, and the ranks' parts are the batch whatever the world."""

import json

import numpy as np
import pytest

from shards.cursor import Cursor
from shards.errors import DataError, UsageError


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6, 12])
def test_the_world_does_not_change_the_batch(world: int) -> None:
    """The parts of all ranks, one after the other, are the same positions."""
    cursor = Cursor(1001)
    parts = [cursor.positions(12, rank, world) for rank in range(world)]
    assert np.concatenate(parts).tolist() == list(range(1001, 1013))
    assert parts[0].dtype == np.int64


def test_a_run_can_go_on_with_another_batch_and_world() -> None:
    """What a resumed run takes begins where the other one stopped, through JSON."""
    cursor = Cursor().advance(64).advance(64)
    resumed = Cursor.from_state_dict(json.loads(json.dumps(cursor.state_dict())))
    assert resumed == cursor
    assert resumed.positions(9, 1, 3).tolist() == [131, 132, 133]


@pytest.mark.parametrize(
    ("batch", "rank", "world", "reason"),
    [
        (10, 0, 4, "got 10; take 8 or 12"),
        (3, 0, 4, "got 3; take 4"),
        (0, 0, 1, "got 0; take 1"),
        (8, 4, 4, "rank 4 of 4"),
        (8, 0, 0, "rank 0 of 0"),
    ],
)
def test_a_batch_divides_evenly(batch: int, rank: int, world: int, reason: str) -> None:
    """Otherwise ranks would take steps of different sizes; the remedy is named."""
    with pytest.raises(UsageError, match=reason):
        Cursor().positions(batch, rank, world)


def test_an_unknown_state_is_refused() -> None:
    """Another version or another key is not guessed at."""
    unknown = [{"version": 2, "position": 0}, {"position": 0}, {"version": 1, "offset": 3}]
    wrong = [{"version": 1, "position": position} for position in (-1, "3", None, 1.5)]
    for state in (*unknown, *wrong, [1, 3], None):
        with pytest.raises(DataError, match="version 1"):
            Cursor.from_state_dict(state)


def test_a_cursor_is_a_whole_number_that_grows() -> None:
    """Negative, fractional and true are not positions."""
    with pytest.raises(ValueError, match="-1"):
        Cursor(-1)
    for position in (1.5, True, np.int64(3)):
        with pytest.raises(TypeError, match="int"):
            Cursor(position)
    with pytest.raises(ValueError, match="only advances"):
        Cursor(5).advance(-1)
