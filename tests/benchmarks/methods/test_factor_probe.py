"""Probes of what demo images were drawn with: the tasks, and what features score in them."""

import math

import numpy as np
import pytest

from benchmarks.methods.factor_probe import NUM_HUES, TASKS, hue, place, probes
from shards.sources.demo_set import DemoSource
from shards.sources.render import Factors
from trainer.embed.feature_table import FeatureTable


@pytest.mark.parametrize(
    ("ground", "centre", "labels"),
    [
        ((0.9, 0.2, 0.2), (-1.0, -1.0), (0, 0)),
        ((0.9, 0.9, 0.2), (-1.0, 1.0), (1, 1)),
        ((0.2, 0.8, 0.3), (1.0, -1.0), (2, 2)),
        ((0.2, 0.2, 0.9), (1.0, 1.0), (4, 3)),
        ((0.9, 0.2, 0.3), (5.0, 0.1), (5, 3)),
    ],
)
def test_tasks_are_read_off_the_factors(
    ground: tuple[float, float, float], centre: tuple[float, float], labels: tuple[int, int]
) -> None:
    """Red begins the circle and closes it; quarters go by rows."""
    factors = Factors(ground, centre, 0.0, 28.0)
    assert (hue(factors), place(factors)) == labels


def table(split: str, numbers: range, keeps: tuple[str, ...]) -> FeatureTable:
    """Features that tell some factors, each on the circle or the plane, and noise."""
    source = DemoSource(split)
    factors = [source.factors(number) for number in numbers]
    rng = np.random.default_rng(len(numbers))
    columns = [rng.normal(size=(len(numbers), 8))]
    if "hue" in keeps:
        turns = np.array([2 * math.pi * (hue(x) + 0.5) / NUM_HUES for x in factors])
        columns += [np.cos(turns)[:, None], np.sin(turns)[:, None]]
    if "place" in keeps:
        columns.append(np.array([x.centre_px for x in factors]))
    return FeatureTable(
        facts={},
        ids=np.arange(len(numbers)),
        names=[""] * len(numbers),
        keys=[f"{number:06d}" for number in numbers],
        shards=[""] * len(numbers),
        labels=source.labels[list(numbers)],
        features=np.concatenate(columns, axis=1).astype(np.float16),
    )


@pytest.mark.parametrize("keeps", [("hue",), ("place",)])
def test_a_probe_finds_what_features_keep(keeps: tuple[str, ...]) -> None:
    """That alone: of the other task and of the class it is right about as often as by chance."""
    scores = probes(table("train", range(600), keeps), table("test", range(100, 400), keeps))
    assert list(scores) == ["class", *TASKS]
    chance = {"class": 1 / 12, "hue": 1 / NUM_HUES, "place": 1 / 4}
    for task, score in scores.items():
        if task in keeps:
            assert score > 0.9
        else:
            assert score < chance[task] + 0.1
