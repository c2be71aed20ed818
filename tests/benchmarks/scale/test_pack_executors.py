"""The packs of the benchmark are counted with all of their processes, and must agree."""

import json
from pathlib import Path

import pytest

from benchmarks.scale import pack_executors


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
        assert pack["cpu_seconds"] > 0.1  # two imports of a command and its workers
    assert found["settings"]["images"] == 50
    monkeypatch.setattr(pack_executors, "VARIANTS", {"processes": (), "ray": ("--seed", "1")})
    assert pack_executors.main(words) == 1
    assert "both make the same bytes, got others by ray" in capsys.readouterr().err
