"""A trial of lightly's, where lightly is installed, ends with its budget."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_sets import write_set

from benchmarks.minutes.peer_ideas import PEER_IDEAS
from benchmarks.parity.image_files import unpack

pytest.importorskip("lightly", reason="lightly lives in the peers' environment: make bench-peers")


@pytest.mark.parametrize("idea", ["batch-64", "adamw", "swav-2+6"])
def test_a_trial_ends_with_its_time(
    idea: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps until the seconds are spent, and an encoder."""
    from benchmarks.minutes import peer_trial

    clock = iter(range(100))
    monkeypatch.setattr(peer_trial.time, "process_time", lambda: next(clock))
    small = {**PEER_IDEAS, idea: replace(PEER_IDEAS[idea], batch=4, width=0.125)}
    monkeypatch.setattr(peer_trial, "PEER_IDEAS", small)
    images = unpack(str(write_set(tmp_path / "set", [0, 1] * 20)), tmp_path / "images")
    argv = ["--idea", idea, "--images", str(images), "--core-seconds", "12", "--seed", "0"]
    monkeypatch.setattr(sys, "argv", ["peer_trial", *argv, "--out", str(tmp_path / "out")])
    peer_trial.main()
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert (record["steps"], record["images"]) == (11, 44)
    assert (tmp_path / "out" / "encoder.pt").is_file()
