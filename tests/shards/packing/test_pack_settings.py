"""The packing order that follows from the options, and a part's run of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.errors import UsageError
from shards.order import SampleOrder
from shards.packing.holdout import HoldOut
from shards.packing.pack_settings import PackOptions
from shards.packing.part import Part
from shards.sources.raw import Source
from shards.sources.source_words import SourceWords
from tests.shards.packing.photo_parts import make_photos


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """40 images of three classes."""
    return SourceWords(spec=str(make_photos(tmp_path / "photos"))).open()


def options(**changes: Any) -> PackOptions:
    return PackOptions("train", 40 << 10, None, 3, **{"limit": None, **changes})


@pytest.mark.parametrize(
    "changes",
    [{}, {"limit": 11}, {"skip": 7, "limit": 20}, {"skip": 2, "hold_out": HoldOut(0.25, None)}],
)
def test_a_part_has_its_run_of_the_order(source: Source, changes: dict[str, Any]) -> None:
    """Of 1 to 50 parts, one after the other, also where some have no image; with limit, skip and
    hold-out.
    """
    before, whole = options(**changes).numbers(source)
    assert before == 0
    assert len(set(whole.tolist())) == len(whole) > 0
    for of in (1, 2, 7, 50):
        runs = [options(**changes).numbers(source, Part(i + 1, of)) for i in range(of)]
        assert [begin for begin, _ in runs] == [len(whole) * i // of for i in range(of)]
        np.testing.assert_array_equal(np.concatenate([run for _, run in runs]), whole)


def test_a_part_makes_no_other_run(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a part costs does not grow with the set: the order is asked for its images alone, and
    not at all where options are only checked.
    """
    original, asked = SampleOrder.__call__, list[int]()

    def counts(self: SampleOrder, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.extend(positions.tolist())
        return original(self, positions)

    monkeypatch.setattr(SampleOrder, "__call__", counts)
    options(skip=4).check(source)
    assert not asked
    options(skip=4).numbers(source, Part(2, 6))
    assert asked == list(range(10, 16))


def test_options_that_leave_nothing_are_refused(source: Source) -> None:
    """By the check that comes before anything is written, also of a hold-out."""
    with pytest.raises(UsageError, match="--skip leaves images to pack, got 40 of the 40"):
        options(skip=40).check(source)
    with pytest.raises(UsageError, match="a hold-out takes 1 to 37 of these 40 images"):
        options(hold_out=HoldOut(None, 40)).check(source)
