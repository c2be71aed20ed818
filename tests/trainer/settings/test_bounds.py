"""Bounds in the types of settings: what is refused, in which words, and what passes."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from shards.errors import UsageError
from trainer.settings.bounds import (
    Count,
    Natural,
    NotNegative,
    Positive,
    Share,
    ShareAbove0,
    ShareBelow1,
    at_most,
    check_bounds,
)
from trainer.settings.strict import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """A setting of each kind."""

    count: Count = 5
    few: Annotated[Count, at_most(9)] = 3
    perhaps: Count | None = None
    natural: Natural = 0
    weight: NotNegative = 0.5
    rate: Positive = 0.1
    share: Share = 1.0
    kept: ShareBelow1 = 0.0
    part: ShareAbove0 = 1.0
    free: int = -7

    def __post_init__(self) -> None:
        check_bounds("toy", self)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("count", 0, "toy count is at least 1, got 0; try 5"),
        ("few", 0, "toy few is at least 1, got 0; try 3"),
        ("few", 10, "toy few is at most 9, got 10; try 3"),
        ("perhaps", 0, "toy perhaps is at least 1, got 0; try null"),
        ("natural", -1, "toy natural is not negative, got -1; try 0"),
        ("weight", -0.1, "toy weight is not negative, got -0.1; try 0.5"),
        ("rate", 0.0, "toy rate is positive, got 0.0; try 0.1"),
        ("share", 1.01, "toy share lies in [0, 1], got 1.01; try 1.0"),
        ("kept", 1.0, "toy kept lies in [0, 1), got 1.0; try 0.0"),
        ("part", 0.0, "toy part lies in (0, 1], got 0.0; try 1.0"),
        ("rate", float("nan"), "toy rate is positive, got nan; try 0.1"),
    ],
)
def test_what_lies_outside_is_one_line(key: str, value: float, said: str) -> None:
    """Rule, value and the default as the remedy."""
    with pytest.raises(UsageError) as refused:
        Toy(**{key: value})
    assert str(refused.value) == said


def test_borders_and_null_pass() -> None:
    """A border that belongs to a bound, and null where the type has it, are no errors."""
    Toy(count=1, few=9, perhaps=None, natural=0, weight=0.0, share=0.0, kept=0.999, part=1.0)
    assert Toy(perhaps=3).perhaps == 3


def test_a_recipe_reads_such_a_type_as_the_number_it_is() -> None:
    """YAML's whole number for a float, and no text for a whole number."""
    assert build(Toy, {"rate": 1, "perhaps": 4}) == Toy(rate=1.0, perhaps=4)
    with pytest.raises(UsageError, match="count is a whole number"):
        build(Toy, {"count": "many"})
