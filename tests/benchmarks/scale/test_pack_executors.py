"""The packs of the benchmark are counted with all of their processes, and must agree."""

import json
from pathlib import Path

import pytest

from benchmarks.scale import pack_executors
from benchmarks.scale.pack_executors import Pack, rates


def test_a_pack_is_counted_with_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Processor time and bytes of two variants in turn; where their bytes differ it is an error."""
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(pack_executors, "VARIANTS", {"processes": (), "ray": ("--seed", "0")})
    out = tmp_path / "found.json"
    words = ["--images", "50", "--rounds", "1", "--out", str(out)]
    assert pack_executors.main(words) == 0
    found = json.loads(out.read_text())
    for name in ("processes", "ray"):
        [pack] = found["rounds"][name]
        assert pack["command_s"] > 0.1  # the imports of a command
        assert pack["workers_s"] > 0.1  # and of its workers
        assert pack["cpu_seconds"] >= pack["own_cpu_seconds"] >= pack["command_s"]
    assert found["settings"]["images"] == 50
    monkeypatch.setattr(pack_executors, "VARIANTS", {"processes": (), "ray": ("--seed", "1")})
    assert pack_executors.main(words) == 1
    assert "all make the same bytes, got others by ray" in capsys.readouterr().err


def test_a_rate_is_the_median_of_the_rounds() -> None:
    """Each round's packs are compared with each other: by the clock, by all processor time, and
    without Ray's services.
    """
    processes = [Pack(10, 2, 6, 0, 1), Pack(20, 2, 6, 0, 1), Pack(40, 4, 12, 0, 1)]
    ray = [Pack(20, 1, 7, 2, 2), Pack(10, 1, 7, 8, 2), Pack(40, 1, 7, 0, 2)]
    assert rates({"processes": processes, "ray": ray}) == {
        "ray": {"seconds": 1.0, "cpu_seconds": 0.8, "own_cpu_seconds": 1.0}
    }


def test_a_core_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is made."""
    out = tmp_path / "found.json"
    assert pack_executors.main(["--core", "99999", "--out", str(out)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--core names a core that this process may use, got 99999; give one of " in line
    assert not out.exists()
