"""Held-out sets: a share of each class, the same for the same seed, every image in exactly one."""

from pathlib import Path

import numpy as np
import pytest

from shards.errors import UsageError
from shards.format import NO_LABEL
from shards.index import ShardIndex
from shards.packing.holdout import HoldOut, parse_hold_out
from shards.packing.pack import pack
from shards.sources.raw import RawSample
from tests.shards.noise import Noise, contents


def both(hold_out: HoldOut, labels: list[int]) -> tuple[list[int], list[int]]:
    """Samples kept and held out, of an order that is that of their numbers."""
    order, given = np.arange(len(labels)), np.array(labels, np.int32)
    kept, held = hold_out.take(order, given), hold_out.other().take(order, given)
    assert sorted([*kept, *held]) == order.tolist()
    return kept.tolist(), held.tolist()


def test_each_class_gives_its_share() -> None:
    """A tenth of each, the first ones of the order."""
    labels = [0] * 50 + [1] * 30 + [NO_LABEL] * 20
    _, held = both(HoldOut(0.1, None), labels)
    assert held == [0, 1, 2, 3, 4, 50, 51, 52, 80, 81]


@pytest.mark.parametrize("number", [1, 7, 12, 40, 53])
def test_a_number_is_met_exactly(number: int) -> None:
    """Remainders go to the largest; no class gives all it has; one image of a class stays."""
    labels = [0] * 31 + [1] * 17 + [2] * 7 + [3] * 2 + [4]
    kept, held = both(HoldOut(None, number), labels)
    assert len(held) == number
    assert {labels[i] for i in kept} == {0, 1, 2, 3, 4}
    assert 4 not in {labels[i] for i in held}


def test_more_than_classes_can_give_is_refused() -> None:
    """The message says how many there are to give."""
    with pytest.raises(UsageError, match=r"takes 1 to 2 of these 5 images.* got 3"):
        both(HoldOut(None, 3), [0, 0, 1, 1, 2])
    with pytest.raises(UsageError, match="got 0"):
        both(HoldOut(0.01, None), [0, 0, 1, 1, 2])


@pytest.mark.parametrize(
    "text", ["0", "0%", "100%", "200%", "1.5", "-3", "ten", "", "1e3", "1,5%", "1,5", "10,00"]
)
def test_what_is_no_hold_out_is_refused(text: str) -> None:
    """In one line, with two that are."""
    with pytest.raises(UsageError, match="1000 or 10%"):
        parse_hold_out(text)


def test_a_number_or_a_share_is_understood() -> None:
    """With the separators that people type."""
    assert parse_hold_out("2.5%") == HoldOut(0.025, None)
    assert parse_hold_out("1,000") == HoldOut(None, 1000)


def names(folder: Path) -> set[str]:
    index = ShardIndex.open(folder)
    return {index.key(i) for i in range(len(index))}


def test_one_call_packs_both_sets(tmp_path: Path) -> None:
    """Every image is in exactly one; again both are complete; another share is another set."""
    source, out, held_out = Noise(bad=(7,)), tmp_path / "out", tmp_path / "held"
    report = pack(source, out, workers=1, hold_out=HoldOut(0.2, None), held_out=held_out)
    assert report.held_out is not None
    packed = report.manifest.num_samples, report.held_out.manifest.num_samples
    assert packed in [(47, 12), (48, 11)]
    kept, held = names(out), names(held_out)
    assert not kept & held
    assert kept | held == {f"{i:06d}" for i in range(60) if i != 7}
    labels = ShardIndex.open(held_out).records["label"]
    assert np.bincount(labels).min() >= 3
    again = pack(source, out, workers=1, hold_out=HoldOut(0.2, None), held_out=held_out)
    assert again.was_complete
    assert again.held_out is not None
    assert again.held_out.was_complete
    with pytest.raises(UsageError, match="other options"):
        pack(source, out, workers=1, hold_out=HoldOut(0.3, None), held_out=held_out)


def test_nothing_is_written_when_either_place_is_taken(tmp_path: Path) -> None:
    """Both are asked before the first."""
    (tmp_path / "held").mkdir()
    (tmp_path / "held/mine.txt").write_text("")
    with pytest.raises(UsageError, match=r"mine\.txt"):
        pack(
            Noise(),
            tmp_path / "out",
            workers=1,
            hold_out=HoldOut(0.2, None),
            held_out=tmp_path / "held",
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stop_at", [3, 20, 40, 55])
def test_an_interrupted_pack_goes_on(tmp_path: Path, stop_at: int) -> None:
    """Killed in the first set or in the second, the same call ends with the same bytes."""

    class Stops(Noise):
        def __getitem__(self, number: int) -> RawSample:
            if len(self.asked) >= stop_at:
                raise KeyboardInterrupt
            return super().__getitem__(number)

    def run(source: Noise, folder: Path) -> None:
        pack(
            source,
            folder / "out",
            workers=1,
            shard_size_bytes=40_960,
            hold_out=HoldOut(None, 24),
            held_out=folder / "held",
        )

    run(Noise(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(Stops(), tmp_path / "torn")
    run(Noise(), tmp_path / "torn")
    for part in ("out", "held"):
        assert contents(tmp_path / "torn" / part) == contents(tmp_path / "whole" / part)


def test_of_a_limited_set_a_share_is_held_out(tmp_path: Path) -> None:
    """Half of the images to try something: a tenth of these."""
    report = pack(
        Noise(),
        tmp_path / "out",
        workers=1,
        limit=30,
        hold_out=HoldOut(0.1, None),
        held_out=tmp_path / "held",
    )
    assert report.held_out is not None
    assert report.manifest.num_samples == 27
    assert report.held_out.manifest.num_samples == 3
