"""Some of the hostile files of the threat model, always the same ones, and the fuzzer itself."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hostile import file_kinds, watched

from benchmarks.soak import fuzz
from shards.errors import DataError

COUNTS = {"tar": 250, "index": 150, "manifest": 200, "image": 150, "recipe": 100, "policy": 100}
COUNTS |= {"plan": 150, "checkpoint": 150, "image, DALI": 40}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # libraries warn of what is damaged
@pytest.mark.parametrize("kind", COUNTS)
def test_only_our_own_errors_come_out(kind: str, monkeypatch, tmp_path: Path) -> None:
    """Every file is accepted, or refused by an error of ours; both happen."""
    if "DALI" in kind:
        pytest.importorskip("nvidia.dali")
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path))
    # How long one takes depends on who else works here: only what hangs is ended.
    tally = watched.explore(kind, COUNTS[kind], seed=1, max_seconds=120)
    assert tally.outcomes["accepted"]
    assert len(tally.outcomes) > 1
    assert tally.outcomes.total() == tally.damages.total() == COUNTS[kind]


def test_every_kind_is_read_on_a_commit_and_in_a_soak() -> None:
    """The kinds of file that exist, that commits read, and that the fuzzer shares out."""
    assert set(COUNTS) == set(file_kinds.KINDS) == set(fuzz.SHARES)
    assert sum(fuzz.SHARES.values()) == 100


def test_the_same_seed_is_the_same_files(monkeypatch) -> None:
    """A part comes back by its number."""
    seen: list[list[bytes]] = []

    def collect(seed: int) -> list[bytes]:
        files: list[bytes] = []
        kind = replace(
            file_kinds.KINDS["tar"], read=lambda data, folder: files.append(data) or "accepted"
        )
        monkeypatch.setitem(file_kinds.KINDS, "tar", kind)
        watched.explore("tar", 30, seed, max_seconds=120)
        return files

    seen += [collect(7), collect(7), collect(8)]
    assert seen[0] == seen[1] != seen[2]


WATCH: list[watched.Watch] = []  # a hook stays for good, so there is one


def fail(error: Exception):
    raise error


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (lambda data, folder: "accepted", ""),
        (lambda data, folder: fail(DataError("torn")), ""),
        (lambda data, folder: fail(KeyError("x")), "KeyError"),
        (lambda data, folder: fail(MemoryError()), "MemoryError"),
        (lambda data, folder: (folder / "x").write_text("x") and "accepted", ""),
        (lambda data, folder: _elsewhere().write_text("x") and "accepted", "ForbiddenError"),
        (lambda data, folder: open("/etc/hostname").close() or "accepted", "ForbiddenError"),
        (lambda data, folder: str(os.system("true")), "ForbiddenError"),
        (lambda data, folder: str(subprocess.run(["true"])), "ForbiddenError"),
    ],
)
def test_what_must_not_be_is_noticed(monkeypatch, tmp_path, read, problem: str) -> None:
    """A foreign exception, a file elsewhere, a program: each comes out; our errors do not."""
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path))
    monkeypatch.setitem(file_kinds.KINDS, "policy", replace(file_kinds.KINDS["policy"], read=read))
    if not WATCH:
        WATCH.append(watched.Watch())
    assert _end_of_reading() == problem


def _end_of_reading() -> str:
    try:
        watched.attempt("policy", b"", WATCH[0])
    except BaseException as error:
        return type(error).__name__
    return ""


def _elsewhere() -> Path:
    return Path(os.environ["AUGENGINE_CACHE"]) / "x"


@pytest.mark.slow
def test_a_soak_counts_files_and_keeps_the_one_that_is_wrong(tmp_path: Path, monkeypatch) -> None:
    """A part is a process that gives its counts; one that fails says why and leaves its file."""
    part = fuzz.run_part(("policy", 0, 5), 0, tmp_path)
    assert sum(part["outcomes"].values()) == 5
    monkeypatch.setattr(fuzz, "MAX_SECONDS", 1e-3)  # no index is read in it
    died = fuzz.run_part(("index", 3, 50), 0, tmp_path)
    assert "died of signal 27" in died["problem"]
    assert died["problem"].endswith(str(tmp_path / "fuzz-index-3.bin"))
    assert (tmp_path / "fuzz-index-3.bin").is_file()
    others = [{**part, "kind": kind} for kind in fuzz.SHARES if kind not in ("policy", "index")]
    report = fuzz.summary([part, died, *others])
    assert report["wrong"] == [died]
    assert report["cases"] == 5 * (1 + len(others))
    assert report["kinds"]["index"]["wrong"] == 1
    json.dumps(report)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--case", "tar"], "--case is one of tar, index"), (["--count", "0"], "at least 1")],
)
def test_wrong_use_is_one_line(arguments: list[str], said: str, capsys) -> None:
    """Bad flags end before a file is read."""
    assert fuzz.main(arguments) == 2
    assert said in capsys.readouterr().err
