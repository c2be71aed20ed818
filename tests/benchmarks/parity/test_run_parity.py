"""The queue of pairs: jobs in turn, made once, kept; what fails is made again; what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import write_set

from benchmarks.parity import agreement_run, run_parity
from benchmarks.parity.agreement_run import agrees
from benchmarks.parity.sides import Job, Place
from shards.errors import DataError

COSTS = {"images_per_s": 10.0, "data_wait": 0.1, "wall_s": 2.0, "cpu_s": 3.0, "peak_mib": 4.0}
GOOD = {"loss_error": 1e-9, "gradient_error": 1e-9, "convention": "the same"}
GOOD |= {"ours": 1.5, "lightly": 1.5}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command's words for a tiny set and a peer, without training or scoring."""
    for name in ("train", "test"):
        write_set(tmp_path / name, [0, 1, 2, 0])
    peer = tmp_path / "python"
    peer.touch()
    monkeypatch.setattr(run_parity, "score", lambda weights, *places: {"knn": 0.4, "linear": 0.5})
    monkeypatch.setattr(run_parity, "weights_of", lambda trained: {})
    monkeypatch.setattr(
        agreement_run, "_compare", lambda methods, python: dict.fromkeys(methods, GOOD)
    )
    places = f"tiny={tmp_path / 'train'},{tmp_path / 'test'}"
    out = ["--out", str(tmp_path / "rows.json"), "--work", str(tmp_path / "work")]
    return ["--set", places, "--peer-python", str(peer), *out, "--methods", "simclr,byol"]


def trained(done: list[Job], failing: int = -1) -> Any:
    """A stand-in for a side's training that writes down its jobs."""

    def train(job: Job, place: Place) -> dict[str, Any]:
        done.append(job)
        if len(done) - 1 == failing:
            raise DataError("no room")
        names = ("set", "epochs", "method", "seed", "side")
        return {name: getattr(job, name) for name in names} | COSTS

    return train


def test_rows_are_made_once_and_kept(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sides in turn, method by method, seed by seed; a failed one alone is made again."""
    done: list[Job] = []
    monkeypatch.setattr(run_parity, "train", trained(done, failing=1))
    assert run_parity.main([*command, "--seeds", "0,1"]) == 1
    every = [
        (s, m, side) for s in (0, 1) for m in ("simclr", "byol") for side in ("ours", "lightly")
    ]
    assert [(job.seed, job.method, job.side) for job in done] == every
    report = json.loads((tmp_path / "rows.json").read_text())
    assert len(report["rows"]) == 7
    assert [row["seed"] for row in report["untrained"]] == [0, 1]
    assert run_parity.main([*command, "--seeds", "0,1"]) == 0
    assert done[8:] == [done[1]]
    assert run_parity.main([*command, "--seeds", "0,1", "--epochs", "5", "--jobs", "2"]) == 0
    assert len(done) == 17
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(r["epochs"], r["method"], r["seed"], r["side"]) for r in rows[:4]] == [
        (4, "simclr", 0, "ours"),
        (4, "simclr", 0, "lightly"),
        (4, "simclr", 1, "ours"),
        (4, "simclr", 1, "lightly"),
    ]


def test_without_a_peer_ours_alone_is_made(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the table says that it stands alone."""
    done: list[Job] = []
    monkeypatch.setattr(run_parity, "train", trained(done))
    assert run_parity.main([*command[:2], *command[4:]]) == 0
    assert {job.side for job in done} == {"ours"}
    assert "alone" in capsys.readouterr().out


def test_a_loss_that_differs_is_not_trained(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Correctness before scores: no run of any method begins."""
    done: list[Job] = []
    monkeypatch.setattr(run_parity, "train", trained(done))
    bad = {"simclr": GOOD, "byol": GOOD | {"gradient_error": 0.1}}
    monkeypatch.setattr(agreement_run, "_compare", lambda methods, python: bad)
    assert run_parity.main(command) == 1
    assert "got more: byol" in capsys.readouterr().err
    assert done == []


def test_check_compares_and_trains_nothing(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All losses are in the report, and no row is."""
    done: list[Job] = []
    monkeypatch.setattr(run_parity, "train", trained(done))
    assert run_parity.main([*command, "--check"]) == 0
    report = json.loads((tmp_path / "rows.json").read_text())
    assert sorted(report["agreement"]) == ["byol", "simclr"]
    assert report["rows"] == report["untrained"] == done == []
    assert "1e-09" in capsys.readouterr().out
    assert not (tmp_path / "work").exists()


def test_agreement_is_of_loss_and_gradient() -> None:
    """A right value with a wrong gradient does not pass; no formula passes only with its reason."""
    assert agrees(GOOD)
    assert not agrees(GOOD | {"loss_error": 1e-3})
    assert not agrees(GOOD | {"loss_error": float("nan")})
    assert agrees({"loss_error": None, "gradient_error": None, "convention": "another loss"})
    assert not agrees({"loss_error": None, "gradient_error": None, "convention": ""})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--set x", "--set reads NAME=TRAIN,EVAL, got 'x'"),
        ("", "--set names the images, got none"),
        ("--set a=b,c --methods simcrl", "unknown method 'simcrl'"),
        ("--set a=b,c --seeds one", "--seeds are whole numbers, got one"),
        ("--set a=b,c --epochs 0", "--epochs is a whole number from 1 on, got 0"),
        ("--set a=b,c --jobs 0", "--jobs is a whole number from 1 on, got 0"),
        (
            "--set a=b,c --peer-python nowhere",
            "--peer-python is a Python with lightly, got nowhere",
        ),
        ("--set a=b,c --check", "--check compares with lightly, got no --peer-python"),
        ("--set a=b,c", "shards lie in a folder, got b"),
        ("--print", "has no rows; run without --print first"),
    ],
)
def test_the_command_refuses_in_a_line(
    flags: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not asked for rightly ends before a run begins, and leaves nothing."""
    out = ["--out", str(tmp_path / "rows.json"), "--work", str(tmp_path / "work")]
    assert run_parity.main([*out, *flags.split()]) in (1, 2)
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
