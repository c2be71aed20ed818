"""From a folder of images to masks that mirror it: salient, restartable, bad images listed."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from masked_set import NUM_IMAGES, pictured, write_masked_folders
from PIL import Image

from shards.plugins import importing
from tools.make_masks import main
from tools.saliency.spectral_residual import SpectralResidual

OWN = Path(__file__).parents[1] / "own_code"


def make(photos: Path, out: Path, *options: str) -> int:
    return main([str(photos), str(out), "--workers", "1", *options])


def test_a_mask_an_image_and_the_rest_when_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad images are listed; what is there is kept as it is, what is missing is made."""
    photos, _ = write_masked_folders(tmp_path)
    (photos / "a/torn.jpg").write_bytes(b"x")
    out = tmp_path / "out"
    assert make(photos, out) == 0
    said = capsys.readouterr().out
    assert f"{NUM_IMAGES} masks made" in said
    assert "left out 1 bad image" in said
    listed = json.loads((out / "quarantine.jsonl").read_text())
    assert listed["name"] == "a/torn.jpg"
    for number in range(NUM_IMAGES):
        with Image.open(out / f"{'ab'[number % 2]}/{number}.png") as mask:
            assert mask.mode == "1"
            assert (mask.height, mask.width) == pictured(number)[1].shape
    (out / "a/0.png").write_bytes(b"mine")
    (out / "b/1.png").unlink()
    assert make(photos, out) == 0
    assert f"1 mask made, {NUM_IMAGES - 1} were there" in capsys.readouterr().out
    assert (out / "a/0.png").read_bytes() == b"mine"


def test_what_stands_out_is_found() -> None:
    """A textured disc on a plain ground: foreground is there ten times as often as elsewhere."""
    rng = np.random.default_rng(0)
    image = np.full((150, 200, 3), 90, np.uint8)
    y, x = np.indices((150, 200))
    inside = (y - 60) ** 2 + (x - 130) ** 2 < 20**2
    image[inside] = rng.integers(0, 256, (int(inside.sum()), 3))
    found = SpectralResidual()(image)
    assert found.shape == inside.shape
    assert found[inside].mean() > 10 * found[~inside].mean() > 0


def test_where_nothing_stands_out_all_is_foreground() -> None:
    """A plain image is not emptied."""
    assert SpectralResidual()(np.full((30, 40, 3), 7, np.uint8)).all()
    assert SpectralResidual()(np.full((1, 1, 3), 7, np.uint8)).all()


@pytest.fixture
def own_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The working folder has the package in it; forgotten afterwards."""
    monkeypatch.setattr(importing, "_NEVER", set())
    shutil.copytree(OWN, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != ""])
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_pkg"]:
        del sys.modules[name]


@pytest.mark.usefixtures("own_desk")
def test_a_method_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By package.module:Class; a folder has the masks of one method; a wrong one is one line."""
    photos, _ = write_masked_folders(tmp_path)
    assert make(photos, tmp_path / "out", "--method", "my_pkg.my_saliency:Left") == 0
    assert "saliency method my_pkg.my_saliency:Left from" in capsys.readouterr().out
    with Image.open(tmp_path / "out/a/2.png") as mask:
        pixels = np.asarray(mask)
    assert pixels[:, 0].all()
    assert not pixels[:, -1].any()
    for out, method, why in (
        ("out", "spectral", "with masks by my_pkg.my_saliency:Left; name another DIR"),
        ("other", "my_pkg.my_saliency:Wrong", "gives [H, W] bool, or uint8"),
        ("third", "spectrum", "did you mean spectral?"),
    ):
        assert make(photos, tmp_path / out, "--method", method) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line


def test_two_images_of_one_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their masks would be one file."""
    photos, _ = write_masked_folders(tmp_path)
    (photos / "a/0.jpg").write_bytes(b"x")
    assert make(photos, tmp_path / "out") == 2
    assert "which differ in the ending alone" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And it stays as it is."""
    photos, _ = write_masked_folders(tmp_path)
    (tmp_path / "out").write_text("mine")
    assert make(photos, tmp_path / "out") == 2
    assert "masks go to a folder, got the file" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_no_mask_at_all_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no image decodes there is nothing to pack with, and the exit code says so."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"<html>")
    assert make(tmp_path / "photos", tmp_path / "masks") == 1
    said = capsys.readouterr()
    assert "next:" not in said.out
    assert "got none of 1, the first is 1.jpg: a web page in place of an image" in said.err
