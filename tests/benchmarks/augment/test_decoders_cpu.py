"""The comparison of CPU decoders: who differs is counted, and turns are shared fairly."""

import json
from pathlib import Path

import numpy as np
import pytest

from augengine.decoders.create_decoder import create_decoder
from benchmarks.augment import decoders_cpu
from benchmarks.augment.decoders_cpu import compare, main, num_different, time_in_turns
from benchmarks.augment.photographs import photograph_jpegs


def test_every_row_is_there_and_ours_do_not_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three kinds of image; the file has the machine and the libraries' versions."""
    monkeypatch.setattr(decoders_cpu, "PEERS", {"absent": _absent})
    out = tmp_path / "decoders.json"
    assert main(["--images", "2", "--rounds", "1", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert list(report["libraries"]) == ["pillow", "dali", "nvimgcodec"]
    assert [len(kind["decoders"]) for kind in report["results"].values()] == [3, 3, 3]
    for kind in report["results"].values():
        assert all(row["images_that_differ"] == 0 for row in kind["decoders"].values())
        assert kind["decoders"]["pillow"]["times_as_fast"] == 1
    assert report["conditions"]["cpu"]


def _absent() -> decoders_cpu.Decode:
    raise ImportError("not installed")


def test_another_byte_or_shape_is_another_image() -> None:
    """One level of one channel counts as much as a wrong side."""
    images = [np.zeros((2, 3, 3), np.uint8) for _ in range(3)]
    others = [images[0], images[1].copy(), images[2][:1]]
    others[1][1, 2, 0] = 1
    assert num_different(images, others) == 2
    pillow = create_decoder("pillow", "cpu")
    jpegs = photograph_jpegs(2)
    rows = compare({"pillow": pillow, "half": lambda e: pillow(e)[:1] + others[:1]}, jpegs, 1)
    assert rows["half"]["images_that_differ"] == 1


def test_everyone_is_first_in_turn() -> None:
    """No decoder always runs behind the same one; the first round warms up and is not kept."""
    order: list[str] = []
    decoders = {name: lambda _, name=name: order.append(name) or [] for name in "abc"}
    times = time_in_turns(decoders, [b""], 3)
    assert "".join(order) == "abcbcacababc"
    assert [len(kept) for kept in times.values()] == [3, 3, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--photos", "none.parquet"], "--photos is a Parquet file with an image column"),
        (["--photos", "text.parquet"], "--photos is a Parquet file whose image column holds bytes"),
        (["--images", "0"], "--images is a whole number from 1 on, got 0"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    message: str,
) -> None:
    """Exit code 2, and no file."""
    monkeypatch.chdir(tmp_path)
    Path("text.parquet").write_text("no table")
    assert main([*given, "--out", "x.json"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not Path("x.json").exists()
