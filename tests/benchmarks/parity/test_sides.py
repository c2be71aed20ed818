"""A side's run: the command, the numbers of its windows, and one run of ours to its end."""

import sys
from pathlib import Path

import pytest
import yaml
from tiny_sets import write_set

from benchmarks.parity import sides
from benchmarks.parity.frozen_score import score, weights_of
from benchmarks.parity.our_recipe import our_recipe
from benchmarks.parity.sides import Job, Place, steady
from shards.errors import DataError


def test_windows_count_by_their_time() -> None:
    """Two windows of as many images, 10 s and 30 s long: the slow one counts three times."""
    fast = {"images_per_s": 30.0, "data_wait": 0.0, "loss": 2.0}
    slow = {"images_per_s": 10.0, "data_wait": 0.4, "loss": 1.0}
    found = steady([fast, slow])
    assert found["images_per_s"] == pytest.approx(15.0)
    assert found["data_wait"] == pytest.approx(0.3)
    assert (found["first_loss"], found["last_loss"]) == (2.0, 1.0)
    with pytest.raises(DataError, match="ten steps or more"):
        steady([])


def test_both_commands_say_the_same_length_and_seed(tmp_path: Path) -> None:
    """Ours reads a recipe of the shared numbers; theirs runs by the other Python."""
    place = Place(tmp_path, "shards", tmp_path / "images", "other/python")
    ours, theirs = (
        sides.COMMANDS[side](Job("c10", 4, "byol", 7, side), place, tmp_path / side)
        for side in ("ours", "lightly")
    )
    for command in (ours, theirs):
        assert command[command.index("--epochs") + 1] == "4"
        assert command[command.index("--seed") + 1] == "7"
    assert ours[:3] == [sys.executable, "-m", "trainer.run"]
    assert theirs[:3] == ["other/python", "-m", "benchmarks.parity.peer_train"]
    recipe = yaml.safe_load(Path(ours[ours.index("--config") + 1]).read_text())
    assert recipe == our_recipe("byol")


@pytest.mark.slow
def test_our_side_trains_and_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command leaves is read, and its encoder is the one that is scored."""
    monkeypatch.setattr("benchmarks.parity.our_recipe.BATCH", 4)
    train, test = (
        str(write_set(tmp_path / name, [0, 1, 2] * 4, seed=seed))
        for seed, name in enumerate(("train", "test"))
    )
    place = Place(tmp_path / "work", train, tmp_path / "images", None)
    row = sides.train(Job("tiny", 4, "simclr", 0, "ours"), place)
    assert row["steps"] == 12
    assert row["cpu_s"] > 0
    assert row["images_per_s"] > 0
    weights = weights_of(place.of(Job("tiny", 4, "simclr", 0, "ours")))
    found = score(weights, train, test)
    assert (found["train_images"], found["test_images"]) == (12, 12)
    torn = {name: value for name, value in weights.items() if "layer4" not in name}
    with pytest.raises(DataError, match="weights of another network"):
        score(torn, train, test)
