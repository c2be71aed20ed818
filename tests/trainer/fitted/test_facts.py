"""What the fitted recipe looks at in a set, or in several."""

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from shards.index import ShardIndex
from shards.mixture.mixed_index import MixedIndex
from trainer.fitted.facts import look_at


def plain_set(folder: Path, sides_px: list[int]) -> ShardIndex:
    """One tar of grey squares."""
    folder.mkdir()
    with tarfile.open(folder / "train-000000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for i, side in enumerate(sides_px):
            buffer = io.BytesIO()
            Image.new("RGB", (side, side), (i, i, i)).save(buffer, "PNG")
            member = tarfile.TarInfo(f"{i:06d}.png")
            member.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(member, buffer)
    return ShardIndex.open(folder)


@pytest.mark.parametrize(
    ("weights", "median_px"),
    [((1, 1), 200), ((1, 0.2), 40), ((10, 1), 40), ((1, 2 / 3), 120)],
)
def test_the_median_is_that_of_an_epoch(
    weights: tuple[float, float], median_px: int, tmp_path: Path
) -> None:
    """An image of a set of weight 0.2 counts a fifth; half of either size is the mean of both."""
    small, large = plain_set(tmp_path / "a", [40] * 20), plain_set(tmp_path / "b", [200] * 30)
    facts = look_at(MixedIndex([small, large], weights), "cpu")
    assert facts.median_px == median_px
    assert facts.images == round(20 * weights[0]) + round(30 * weights[1])


def test_of_one_set_it_is_the_plain_median(tmp_path: Path) -> None:
    """Of the shorter sides, as many below as above."""
    assert look_at(plain_set(tmp_path / "a", [10, 20, 40, 90]), "cpu").median_px == 30
    assert look_at(plain_set(tmp_path / "b", [90, 20, 40]), "cpu").median_px == 40
