"""The start on a large set is measured on the whole of it; an exit code keeps its bounds."""

import importlib
import json
from pathlib import Path

import pytest


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch):
    """benchmarks/scale/billion.py as a module, two starts."""
    module = importlib.import_module("benchmarks.scale.billion")
    monkeypatch.setattr(module, "REPEATS", 2)
    return module


def test_a_hundred_million_samples(scale, tmp_path: Path) -> None:
    """A file of 3.2 GB that takes no room: opened whole, looked up, little of it in memory."""
    out = tmp_path / "scale.json"
    arguments = ["--samples", "100000000", "--shards", "500", "--out", str(out)]
    assert scale.main(arguments) == 0
    found = json.loads(out.read_text())["results"]
    assert found["index_bytes"] > 3.2e9
    assert found["index_bytes_on_this_disk"] < 1e6
    assert found["started_mb"]["VmHWM"] < 200
    # 25,600 lookups touch as many pages, of 4 KiB; with reading ahead it would be half the file.
    assert found["after_lookups_mb"]["RssFile"] - found["started_mb"]["RssFile"] < 250
    assert found["state_bytes"] < 1024


def test_over_a_bound_is_an_error(scale, tmp_path: Path, monkeypatch, capsys) -> None:
    """What is missed is named, and the exit code is 1."""
    monkeypatch.setattr(scale, "MAX_STATE_BYTES", 10)
    arguments = ["--samples", "3000", "--shards", "3", "--out", str(tmp_path / "x.json")]
    assert scale.main(arguments) == 1
    assert "bytes of state of 10" in capsys.readouterr().err
    assert scale.main(["--samples", "1", "--shards", "3"]) == 2
