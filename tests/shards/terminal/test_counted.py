"""Numbers with what they count, and the verb that goes with them."""

import re
from pathlib import Path

import numpy as np
import pytest

from shards.terminal.counted import agreed, counted

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "image", "1 image"),
        (0, "step", "0 steps"),
        (2000, "image", "2,000 images"),
        (np.int64(1_234_567), "bad sample", "1,234,567 bad samples"),
        (1.0, "epoch", "1 epoch"),
        (0.5, "epoch", "0.5 epochs"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
    ],
)
def test_a_noun_goes_with_its_number(number: float, noun: str, text: str) -> None:
    """One of a thing, or several; also of numbers of numpy, and of fractions."""
    assert counted(number, noun) == text


def test_a_verb_goes_with_its_number() -> None:
    """As with its noun."""
    assert [agreed(n, "is", "are") for n in (0, 1, 2)] == ["are", "is", "are"]


def test_no_count_that_can_be_one_stands_before_a_plural() -> None:
    """Of the words that a run and a pack say: a number in braces goes through `counted`."""
    words = "steps|epochs|images|classes|samples|shards|tensors|loader threads"
    plural = re.compile(rf"\{{(?:len\([^{{}}]*\)|[\w.]+)(?::,|:g)?\}} (?:{words})\b")
    places = ("trainer/setup", "trainer/record", "trainer/command", "tools", "shards/sources")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for place in places
        for path in sorted((ROOT / place).rglob("*.py"))
        for line in path.read_text().splitlines()
        if plural.search(line) and 'f"' in line
    ]
    assert found == []
