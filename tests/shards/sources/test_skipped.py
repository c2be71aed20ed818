"""What a skip list names is not packed; the rest is packed as a source of its own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.errors import UsageError
from shards.index import ShardIndex
from shards.samples.skip_list import SkipLine, SkipList
from shards.sources.demo_set import DemoSource
from shards.sources.detect import open_source
from shards.sources.skipped import SkippedSource, leave_out
from tools.make_shards import main as make_shards


def photos(folder: Path) -> Path:
    """Two classes of three images."""
    for number in range(6):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(path)
    return folder


def packed_names(folder: Path) -> list[str]:
    index = ShardIndex.open(folder)
    return sorted(index.names(np.arange(len(index))))


def test_listed_images_are_not_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By path or by the end of one; what is left keeps its classes, and the count is told."""
    source, skip = photos(tmp_path / "photos"), tmp_path / "skip.txt"
    skip.write_text("# a set of long ago\na/2.png\t7\n5.png\n")
    argv = [str(source), str(tmp_path / "out"), "--workers", "1", "--skip-list", str(skip)]
    assert make_shards(argv) == 0
    assert packed_names(tmp_path / "out") == ["a/0.png", "a/4.png", "b/1.png", "b/3.png"]
    index = ShardIndex.open(tmp_path / "out")
    labels = dict(zip(index.names(np.arange(4)), index.labels(np.arange(4)), strict=True))
    assert [index.classes[labels[name]] for name in sorted(labels)] == ["a", "a", "b", "b"]
    said = capsys.readouterr().out
    assert "2 of 6 images are left out" in said
    skip.write_text("a/2.png\n")
    assert make_shards(argv) == 2  # another set is in OUT
    assert "--overwrite" in capsys.readouterr().err


def test_a_list_may_name_what_another_one_left_out(tmp_path: Path) -> None:
    """Duplicates of a whole set, of which --files takes a part."""
    spec, skip, files = str(photos(tmp_path / "photos")), tmp_path / "skip", tmp_path / "files"
    skip.write_text("a/2.png\n5.png\n")
    files.write_text("0.png\n2.png\n4.png\n")
    source = open_source(spec, files=files, skip_list=skip)
    assert source.names == ["a/0.png", "a/4.png"]
    skip.write_text("5.png\n9.png\n")
    with pytest.raises(UsageError, match=r"got 1 of 2 lines.*'9\.png'"):
        open_source(spec, files=files, skip_list=skip)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("7.png\n", "names images of SOURCE, got 1 of 1 lines"),
        ("0.png\n1.png\n2.png\n3.png\n4.png\n5.png\n", "leaves images to pack"),
        ("same.png\n", "names one image, got 'same.png' in line 1"),
        ("", "has a line an image"),
    ],
)
def test_a_list_that_does_not_fit_is_one_line(
    text: str, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is written."""
    source, skip = photos(tmp_path / "photos"), tmp_path / "skip.txt"
    if text.startswith("same"):
        for folder in "ab":
            Image.new("RGB", (8, 8)).save(source / folder / "same.png")
    skip.write_text(text)
    out = tmp_path / "out"
    assert make_shards([str(source), str(out), "--skip-list", str(skip)]) in (1, 2)
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_source_without_files_goes_by_keys() -> None:
    """The key that a packed sample has is its number in the source."""
    source = DemoSource("test")
    assert source.names is None
    lines = (SkipLine(1, "000003", None), SkipLine(2, "7", None))
    left = leave_out(source, SkipList(Path("s"), lines, ""))
    assert len(left) == len(source) - 2
    assert left[3].name == source[4].name
    assert left[5].name == source[6].name
    assert left[6].name == source[8].name
    assert left.fingerprint != source.fingerprint


def test_blocks_that_are_read_together_stay_together() -> None:
    """Of a source in blocks each block has what is left of it, also nothing."""

    class Blocks(DemoSource):
        block_sizes = np.array([2, 3, 1195])

    source = Blocks("test")
    left = SkippedSource(source, np.setdiff1d(np.arange(1200), [0, 1, 3]), "")
    assert left.block_sizes is not None
    assert left.block_sizes.tolist() == [0, 2, 1195]
    assert sum(left.block_sizes) == len(left)
