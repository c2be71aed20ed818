"""Ranks that are killed lose nothing, and a rank that goes wrong takes the others along at once."""

import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
from warm_python import environment, warm_python

from augengine.plan import Plan
from trainer import checkpoint

ROOT = Path(__file__).parents[3]
MUCH_S = 60.0  # the limit of a collective is 120 s: whoever waits for that is later


def python(*argv: str) -> str:
    done = subprocess.run(
        [warm_python(), *argv],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "grace_s"),
    [
        pytest.param(1, 5.0, id="short"),
        # Whoever waits for a rank that was killed before they met waits for the whole 120 s.
        pytest.param(3, math.inf, id="long", marks=pytest.mark.long),
    ],
)
def test_killed_runs_end_as_if_nothing_had_happened(
    runs: int, grace_s: float, tmp_path: Path
) -> None:
    """Same weights and same (epoch, sample)s after kills; exactly once over 2, 1, 3, 2 ranks."""
    out = tmp_path / "faults.json"
    words = ("--runs", str(runs), "--seed", "1", "--grace", str(grace_s), "--out", str(out))
    python("-m", "benchmarks.soak.faults_kills", *words)
    kills = json.loads(out.read_text())["kills"]
    assert kills["runs"] == kills["bit_equal"] == kills["exactly_once"] == runs
    assert sum(kills["kills"].values()) >= 2
    assert kills["worlds"] == {"ranks": [2, 1, 3, 2], "exactly_once": True}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("faults")
    return folder, json.loads(python("tests/benchmarks/soak/rank_faults.py", str(folder)))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_on_one_rank_stops_all(faults: tuple[Path, dict]) -> None:
    """Both name the step and the rank; the plan holds that rank's images."""
    folder, found = faults
    assert found["nan"]["codes"] == [1, 1]
    assert found["nan"]["log"].count("got nan at step 5 (rank 1: samples ") == 2
    plan = Plan.load(folder / "nan" / "nonfinite-step-5.npz")
    assert plan.batch_size == 6
    lines = (folder / "nan" / "ids-rank1.jsonl").read_text().splitlines()
    assert np.array_equal(plan.ids, json.loads(lines[4])["ids"])


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_with_its_code(faults: tuple[Path, dict]) -> None:
    """Within ten steps, after a checkpoint."""
    folder, found = faults
    assert found["signal"]["codes"] == [138, 138]
    step = checkpoint.load(checkpoint.find(folder / "signal"))["step"]
    assert 5 <= step < 15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "words"), [("error", "a mistake of ours"), ("stall", "data.stall_seconds")]
)
def test_a_rank_that_fails_is_heard_and_ends_the_others(
    fault: str, words: str, faults: tuple[Path, dict]
) -> None:
    """Its own words are in the log; the other ends by itself, long before its collective would."""
    _, found = faults
    assert all(found[fault]["codes"])
    assert found[fault]["outlived_s"] < MUCH_S
    assert words in found[fault]["log"]
    assert "another rank has ended" in found[fault]["log"]
