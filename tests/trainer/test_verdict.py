"""A run ends with one plain sentence: better or worse than untrained, and what to type if worse."""

import math
from typing import Any

import pytest

from trainer.config import TrainConfig
from trainer.overlay import overlay
from trainer.recipe import resolve
from trainer.strict import parse_override
from trainer.verdict import describe_verdict


def config_of(method: str, **policy: Any) -> TrainConfig:
    settings = {"num_prototypes": 3000} if method == "swav" else {}
    values = {"method": {"name": method, **settings}, "loop": {"epochs": 4}, "policy": policy}
    return resolve({"data": {"train": "x"}, **values})


SMALL: dict[str, Any] = {"name": "simclr", "views": "2", "sizes": "32"}


@pytest.mark.parametrize(("knn", "words"), [
    (0.431, "better than the untrained encoder by 12.5 points"),
    (0.207, "worse than the untrained encoder by 9.9 points; try --epochs 8"),
    (0.306, "no better than the untrained encoder; try --epochs 8"),
])  # fmt: skip
def test_it_says_by_how_much(knn: float, words: str) -> None:
    """In points of kNN; a better one needs no advice."""
    large = config_of("simclr", name="simclr", views="2", sizes="224")
    assert describe_verdict(large, knn, 0.306, 1.0) == words


def test_the_loss_of_equal_embeddings_asks_for_fewer_prototypes() -> None:
    """SwAV at ln K; not at another loss, nor another method at that one."""
    at = math.log(3000)
    said = describe_verdict(config_of("swav"), 0.2, 0.3, at + 0.01)
    assert "; try method.num_prototypes=300 (the loss is at ln 3000" in said
    assert "num_prototypes" not in describe_verdict(config_of("swav"), 0.2, 0.3, at - 1)
    assert "num_prototypes" not in describe_verdict(config_of("simclr"), 0.2, 0.3, at)
    assert "num_prototypes" not in describe_verdict(config_of("swav"), 0.2, 0.3, math.nan)


def test_small_images_are_told_half_the_colour_and_larger_crops() -> None:
    """What is typed then is taken by the command, and is not advised again."""
    config = config_of("simclr", **SMALL)
    said = describe_verdict(config, 0.2, 0.3, 1.0)
    typed = "policy.brightness=0.4 policy.contrast=0.4 policy.saturation=0.4 policy.hue=0.1"
    assert f"{typed} (half" in said
    assert "'policy.scale=[0.2,1]'" in said
    values: dict[str, Any] = {"policy": dict(SMALL)}
    for word in [*typed.split(), "policy.scale=[0.2,1]"]:
        values, _ = overlay(values, parse_override(word))
    again = describe_verdict(config_of("simclr", **values["policy"]), 0.2, 0.3, 1.0)
    assert again == "worse than the untrained encoder by 10.0 points; try --epochs 8"


def test_large_images_keep_their_colours() -> None:
    """The published strengths were found on them."""
    assert "policy." not in describe_verdict(config_of("simclr", name="simclr"), 0.2, 0.3, 1.0)


def test_a_score_without_room_is_no_reason_to_go_on() -> None:
    """100 % before the first step."""
    said = describe_verdict(config_of("simclr", **SMALL), 1.0, 1.0, 1.0)
    assert said == "the untrained encoder finds all: this score leaves nothing to learn"
