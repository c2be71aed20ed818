import importlib
import json

import pytest

from tools.profiling.measure import Case, Result


@pytest.fixture
def fused_cpu():
    """benchmarks/augment/fused_cpu.py as a module."""
    return importlib.import_module("benchmarks.augment.fused_cpu")


def result(name, *rates):
    return Result(name, 8, rates, 1.0, {})


def test_targets_compare_inside_a_round_and_across_workloads(fused_cpu):
    """Our bilinear BYOL stands against lightly's, which is timed once, under byol."""
    results = [
        result("byol: from bytes, fused", 50.0, 500.0),
        result("byol bilinear: from bytes, fused", 60.0, 600.0),
        result("byol: from bytes, lightly", 10.0, 100.0),
    ]
    found = {row["ours"]: row for row in fused_cpu._targets(results)}
    assert found["byol: from bytes, fused"]["median"] == 5
    assert found["byol bilinear: from bytes, fused"]["median"] == 6
    assert {row["target"] for row in found.values()} == {5}
    rows = fused_cpu._by_workload(results)
    assert rows["byol"]["from bytes, lightly"]["fused_is_times_as_fast"]["max"] == 5
    assert list(rows["byol bilinear"]) == ["from bytes, fused"]


def test_what_is_compared_stands_side_by_side(fused_cpu):
    """In a round peers follow ours of the same workload and kind."""
    names = [
        "tiny: from pixels, fused",
        "byol: from bytes, fused",
        "swav: from bytes, fused",
        "byol bilinear: from bytes, fused",
        "swav: decode alone",
        "byol: from bytes, lightly",
        "swav: from bytes, lightly",
    ]
    cases = [Case(name, 1, 1, lambda: pytest.fail("not to be started")) for name in names]
    assert [case.name for case in sorted(cases, key=fused_cpu._place)] == [
        "swav: decode alone",
        "swav: from bytes, fused",
        "swav: from bytes, lightly",
        "byol: from bytes, fused",
        "byol bilinear: from bytes, fused",
        "byol: from bytes, lightly",
        "tiny: from pixels, fused",
    ]


@pytest.mark.slow
def test_a_short_run_without_peers_leaves_a_whole_report(fused_cpu, monkeypatch, tmp_path, capsys):
    """Conditions, the gate's errors, each workload's rows; that the peers are missing is said."""
    monkeypatch.setattr(fused_cpu, "BATCH_SIZES", dict.fromkeys(fused_cpu.BATCH_SIZES, 2))
    out = tmp_path / "fused.json"
    options = ["--threads", "1", "--rounds", "1", "--seconds", "0.001", "--backends", "dali"]
    assert fused_cpu.main([*options, "--out", str(out)]) == 0
    assert "peers left out" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert report["peers"] is None
    assert all(error["mean_levels"] < 1 for error in report["errors_against_reference"].values())
    found = report["threads"]["1"]
    assert list(found["workloads"]) == ["swav", "byol", "byol bilinear", "tiny"]
    assert [(row["ours"], row["theirs"]) for row in found["targets"]] == [
        ("swav: from bytes, fused", "swav: from bytes, dali")
    ]


@pytest.mark.slow
def test_photographs_are_timed_beside_the_cuts(fused_cpu, monkeypatch, tmp_path):
    """--photographs adds a camera's images: their size is told, and both have like rows."""
    monkeypatch.setattr(fused_cpu, "BATCH_SIZES", dict.fromkeys(fused_cpu.BATCH_SIZES, 2))
    shards, out = tmp_path / "shards", tmp_path / "camera.json"
    fused_cpu.pack_photographs(8, shards, size_px=(300, 400))
    options = ["--threads", "1", "--rounds", "1", "--seconds", "0.001", "--backends", ""]
    assert fused_cpu.main([*options, "--photographs", str(shards), "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["data"]["camera"]["height_px"] == [300, 300, 300]
    assert report["data"]["small"]["height_px"] == [64, 64, 64]
    found = report["threads"]["1"]["workloads"]
    assert list(found) == ["swav", "swav camera", "byol", "byol camera", "small"]
    rows = ["decode alone", "from bytes, fused", "end to end, fused"]
    assert [list(found[name]) for name in found] == [rows] * 5
