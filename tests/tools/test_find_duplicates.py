"""find_duplicates.py: groups by features, told as a table, a picture and a list to leave out."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from shards.index import ShardIndex
from tools.duplicates.near_groups import Nearest, find_nearest
from tools.find_duplicates import main as find_duplicates
from tools.make_shards import main as make_shards
from trainer.embed.__main__ import main as embed

CPU = torch.device("cpu")
# Pixels as features: a module of nobody's, in the working folder.
MODULE = """
import torch
class Pixels(torch.nn.Module):
    size_px = 8
    def forward(self, x):
        return x.flatten(1)
"""


@pytest.mark.parametrize("block", [3, 1024])
def test_the_nearest_before_is_found(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against all products at once, for blocks that do not divide the rows."""
    monkeypatch.setattr("tools.duplicates.near_groups.BLOCK_ROWS", block)
    monkeypatch.setattr("tools.duplicates.near_groups._CHUNK_ROWS", 5)
    features = np.random.default_rng(0).standard_normal((23, 4)).astype(np.float32) + 3
    found = find_nearest(features, CPU)
    centred = features - features.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    products = np.where(np.tri(23, k=-1) > 0, unit @ unit.T, -1)
    assert found.rows[0] == -1
    assert np.array_equal(found.rows[1:], products.argmax(axis=1)[1:])
    np.testing.assert_allclose(found.similarities, products.max(axis=1), atol=1e-5)


def test_images_join_the_group_of_the_most_alike() -> None:
    """Also over a chain; what is like nothing is in no group, the largest group comes first."""
    nearest = Nearest(np.array([-1, 0, 0, 2, 1, 3]), np.array([-1, 0.5, 0.97, 0.96, 0.99, 0.95]))
    groups = nearest.groups(0.95)
    assert [group.tolist() for group in groups] == [[0, 2, 3, 5], [1, 4]]
    assert nearest.count(0.95) == 4
    assert nearest.groups(1.0) == []


def test_equal_images_have_no_direction_and_are_still_told() -> None:
    """A set of one image's copies: all features are the mean, nothing is like anything."""
    assert find_nearest(np.ones((5, 3), np.float16), CPU).groups(0.5) == []


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty photographs, of which 3 is there again in worse quality and 7 brighter."""
    folder = tmp_path_factory.mktemp("duplicates")
    rng = np.random.default_rng(0)
    for number in range(20):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)
        path = folder / "photos" / "ab"[number % 2] / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=95)
        if number == 3:
            image.save(path.with_name("03 again.jpg"), quality=50)
        if number == 7:
            ImageEnhance.Brightness(image).enhance(1.05).save(folder / "photos/a/bright.jpg")
    (folder / "pixel_nets.py").write_text(MODULE)
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))
    assert make_shards(["photos", "shards", "--workers", "1"]) == 0
    argv = ["pixel_nets:Pixels", "--data", "shards", "--device", "cpu", "data.decoder=pillow"]
    for out in ("f.npy", "f.parquet"):
        assert embed([*argv, "--out", out]) == 0
    patch.undo()
    return folder / "f.npy"


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_planted_duplicates_are_found(
    suffix: str, features: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Both, and nothing else: in the table, in the list; the label of one is told to differ."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.chdir(features.parent)
    table, skip, picture = (tmp_path / name for name in ("d.csv", "skip.txt", "d.png"))
    argv = [f"f{suffix}", "--table", str(table), "--skip-list", str(skip)]
    assert find_duplicates([*argv, "--picture", str(picture)]) == 0
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    groups = [sorted(row["name"] for row in rows if row["group"] == n) for n in ("1", "2")]
    assert sorted(groups) == [["a/bright.jpg", "b/07.jpg"], ["b/03 again.jpg", "b/03.jpg"]]
    for row in rows:
        assert (row["similarity"] == "") == (row["like"] == "")
        assert row["similarity"] == "" or float(row["similarity"]) > 0.98
    said = capsys.readouterr().out
    assert "22 images; 2 groups at a cosine of 0.98, 2 images (9.1%)" in said
    assert "1 group has more than one label" in said
    with Image.open(picture) as image:
        assert image.size[0] > 400
    # What is left when it is packed again has neither.
    out = tmp_path / "clean"
    assert make_shards(["photos", str(out), "--workers", "1", "--skip-list", str(skip)]) == 0
    index = ShardIndex.open(out)
    names = set(index.names(np.arange(len(index))))
    assert len(names) == 20
    assert all(len(names & set(group)) == 1 for group in groups)


def test_no_duplicate_is_an_answer(
    features: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A table with its head alone, and an empty list."""
    monkeypatch.chdir(features.parent)
    table, skip = tmp_path / "d.csv", tmp_path / "skip.txt"
    argv = ["f.npy", "--threshold", "1", "--table", str(table), "--skip-list", str(skip)]
    assert find_duplicates(argv) == 0
    assert table.read_text().count("\n") == 1
    assert "0 groups" in capsys.readouterr().out
    assert skip.read_text().startswith("# set ")


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["none.npy"], "which is not there"),
        (["pixel_nets.py"], "ends with .parquet or .npy"),
        (["torn.npy"], "a whole file of trainer.embed"),
        (["torn.parquet"], "a whole file of trainer.embed"),
        (["plain.npy"], "it has plain numbers"),
        (["f.npy", "--threshold", "1.5"], "is a cosine in (0, 1], got 1.5"),
        (["f.npy", "--table", "no/such.csv"], "--table is a file in an existing folder"),
        (["f.npy", "--picture", "d.txt"], "--picture is a file that ends with"),
        (["f.npy", "--picture", "d.png", "--data", "other"], "got others in other"),
        (["f.npy", "--picture", "d.png", "--data", "gone"], "gone"),
        (["f.npy", "--table", "/proc/d.csv"], "/proc/d.csv"),
    ],
)
def test_what_cannot_be_is_one_line(
    argv: list[str], part: str, features: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The rule and what was got; no file is left."""
    folder = features.parent
    monkeypatch.chdir(folder)
    for name in ("f.npy", "f.parquet"):
        (folder / name.replace("f", "torn")).write_bytes((folder / name).read_bytes()[:-200])
    np.save(folder / "plain.npy", np.ones((3, 4)))
    if not (folder / "other").exists():
        assert make_shards(["photos", "other", "--limit", "5", "--workers", "1"]) == 0
    before = sorted(folder.iterdir())
    capsys.readouterr()
    assert find_duplicates(argv) in (1, 2)
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert sorted(folder.iterdir()) == before
