"""What a step's number means is one rule, and the loader's batches follow it."""

from pathlib import Path

import pytest
from tiny_run import tiny_config

from shards.cursor import Cursor
from trainer.build import build_parts, open_loader
from trainer.setup.timeline import Timeline, due
from trainer.step import optimizer_step


def test_the_last_batch_is_whole() -> None:
    """37 images in batches of 8 are 4.625 steps an epoch; half a step is not taken."""
    timeline = Timeline(num_images=37, batch_size=8, epochs=2)
    assert (timeline.steps_per_epoch, timeline.total_steps) == (4.625, 9)
    assert timeline.progress(3).epoch == pytest.approx(3 * 8 / 37)
    assert timeline.cursor(3) == Cursor(24)


def test_a_cadence_is_a_step_at_least() -> None:
    """A tenth of an epoch of five steps is every step; epochs are no whole number of them."""
    timeline = Timeline(num_images=37, batch_size=8, epochs=2)
    assert timeline.steps(0.1) == 1.0
    every = timeline.steps(1)
    assert [step for step in range(1, 15) if due(step, every)] == [5, 10, 14]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_ends_where_its_number_says(accumulate: int, shard_folder: Path) -> None:
    """The origins of a step are its forwards' samples, all of them; the last is at its cursor."""
    loop = {"epochs": 2, "batch_size": 8, "accumulate": accumulate}
    parts = build_parts(tiny_config(shard_folder, loop=loop))
    timeline = parts.timeline
    parts.method.train()
    with open_loader(parts, timeline.cursor(0)) as loader:
        for step in range(timeline.total_steps):
            progress = timeline.progress(step)
            origins = optimizer_step(parts.method, parts, loader, progress).origins
            ids = [id for origin in origins for id in origin.ids.tolist()]
            expected = parts.order(timeline.cursor(step).positions(8))[1]
            assert ids == expected.tolist()
            assert len(origins) == accumulate
            assert origins[-1].cursor == timeline.cursor(step + 1) == loader.cursor
