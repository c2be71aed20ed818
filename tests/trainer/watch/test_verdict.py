"""A run ends with one plain sentence: better or worse than untrained, and what to type if worse."""

from typing import Any

import pytest

from trainer.config import TrainConfig
from trainer.recipes.overlay import overlay
from trainer.recipes.recipe import resolve
from trainer.settings.strict import parse_override
from trainer.watch.verdict import cures, describe_verdict


def verdict(config: TrainConfig, knn: float, random: float, *, is_still: bool = False) -> str:
    return describe_verdict(config, knn, random, is_still=is_still)


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
    assert verdict(large, knn, 0.306) == words


def test_the_loss_of_a_constant_output_asks_for_fixed_prototypes() -> None:
    """SwAV and DINO, whose prototypes were freed so; what is set already is not asked for."""
    said = verdict(config_of("swav"), 0.2, 0.3, is_still=True)
    swav = "method.num_prototypes=96 method.out_dim=16 method.temperature=0.2 "
    assert f"; try {swav}method.freeze_epochs=1000 (" in said
    assert "--epochs" not in said
    assert "method.center_momentum=0.5 (" in verdict(config_of("dino"), 0.2, 0.3, is_still=True)
    assert "prototypes" not in verdict(config_of("swav"), 0.2, 0.3)
    for method in ("simclr", "barlow"):
        rate = config_of(method).optim.base_lr / 2
        said = verdict(config_of(method), 0.2, 0.3, is_still=True)
        assert said.endswith(f"try optim.base_lr={rate:g} (half the rate)")


def test_the_cure_can_be_typed() -> None:
    """And is not advised again when it was."""
    config = config_of("swav")
    settings = {"num_prototypes": 96, "out_dim": 16, "temperature": 0.2, "freeze_epochs": 1000}
    values = {"name": "swav", **settings}
    cured = resolve({"data": {"train": "x"}, "method": values})
    assert cures(cured, is_still=True) == [
        f"optim.base_lr={config.optim.base_lr / 2:g} (half the rate)"
    ]


def test_small_images_are_told_half_the_colour_and_larger_crops() -> None:
    """What is typed then is taken by the command, and is not advised again."""
    config = config_of("simclr", **SMALL)
    said = verdict(config, 0.2, 0.3)
    typed = "policy.brightness=0.4 policy.contrast=0.4 policy.saturation=0.4 policy.hue=0.1"
    assert f"{typed} (half" in said
    assert "'policy.scale=[0.2,1]'" in said
    values: dict[str, Any] = {"policy": dict(SMALL)}
    for word in [*typed.split(), "policy.scale=[0.2,1]"]:
        values, _ = overlay(values, parse_override(word))
    again = verdict(config_of("simclr", **values["policy"]), 0.2, 0.3)
    assert again == "worse than the untrained encoder by 10.0 points; try --epochs 8"


def test_large_images_keep_their_colours() -> None:
    """The published strengths were found on them."""
    assert "policy." not in verdict(config_of("simclr", name="simclr"), 0.2, 0.3)


def test_a_score_without_room_is_no_reason_to_go_on() -> None:
    """100 % before the first step."""
    said = verdict(config_of("simclr", **SMALL), 1.0, 1.0)
    assert said == "the untrained encoder finds all: this score leaves nothing to learn"
