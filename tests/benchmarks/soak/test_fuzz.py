"""Some of the damaged files of the fuzzer, always the same ones, and the harness itself."""

import importlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from shards.errors import DataError

COUNTS = {"tar": 400, "index": 250, "manifest": 300, "image": 120, "recipe": 100, "policy": 100}
COUNTS |= {"plan": 150, "checkpoint": 150, "image, DALI": 15}


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """benchmarks/soak/fuzz_pool.py as a module; indexes that go to a cache go to tmp_path."""
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path))
    return importlib.import_module("benchmarks.soak.fuzz_pool")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # libraries warn of what is damaged
@pytest.mark.parametrize("kind", COUNTS)
def test_only_our_own_errors_come_out(pool, kind: str) -> None:
    """Every case is accepted, or refused by an error of ours; both happen."""
    if "DALI" in kind:
        pytest.importorskip("nvidia.dali")
    results = [pool.run_case(kind, number, seed=1) for number in range(COUNTS[kind])]
    # How long one takes depends on who else works here.
    wrong = [r for r in results if r.problem and not r.problem.startswith("took")]
    assert not wrong, wrong[:3]
    outcomes = {result.outcome for result in results}
    assert "accepted" in outcomes
    assert len(outcomes) > 1


def test_a_case_comes_back_by_its_number(pool) -> None:
    """The same seed, kind and number are the same bytes; another is not."""
    random = importlib.import_module("random")
    make = pool.KINDS["tar"].make
    first, again, other = (make(random.Random(f"0/tar/{n}")) for n in (7, 7, 8))
    assert first == again != other


def read_as(pool, monkeypatch: pytest.MonkeyPatch, read) -> str:
    """The problem that is found in a reader."""
    kind = replace(pool.KINDS["policy"], read=read)
    monkeypatch.setitem(pool.KINDS, "policy", kind)
    return pool.run_case("policy", 0, 0, AUDIT[0] if AUDIT else None).problem


AUDIT: list = []  # a hook stays for good, so there is one


def fail(error: Exception):
    raise error


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (lambda data, folder: "accepted", ""),
        (lambda data, folder: fail(DataError("torn")), ""),
        (lambda data, folder: fail(KeyError("x")), "KeyError: 'x' at test_fuzz.py"),
        (lambda data, folder: fail(MemoryError()), "MemoryError"),
        (lambda data, folder: (folder / "x").write_text("x") and "accepted", ""),
        (lambda data, folder: _elsewhere().write_text("x") and "accepted", "opened '"),
        (lambda data, folder: open("/etc/hostname").close() or "accepted", "opened '/etc/host"),
        (lambda data, folder: str(os.system("true")), "os.system"),
        (lambda data, folder: str(subprocess.run(["true"])), "subprocess.Popen"),
    ],
)
def test_what_must_not_be_is_noticed(pool, monkeypatch, read, problem: str) -> None:
    """A foreign exception, a file elsewhere, a program: each is a problem; our errors are none."""
    if not AUDIT:
        AUDIT.append(pool.Audit())
    found = read_as(pool, monkeypatch, read)
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def _elsewhere() -> Path:
    return Path(os.environ["AUGENGINE_CACHE"]) / "x"


def test_repaired_cases_are_repeated(pool, tmp_path: Path) -> None:
    """--again runs what was wrong once more and corrects the counts."""
    fuzz = importlib.import_module("benchmarks.soak.fuzz")
    results = [pool.run_case("policy", number, 0) for number in range(3)]
    others = [pool.run_case(kind, 0, 0) for kind in pool.KINDS if kind != "policy"]
    outcome = results[1].outcome
    results[1] = replace(results[1], outcome="foreign", problem="KeyError: 'x'")
    report = fuzz.summary([*results, *others]) | {"settings": {"seed": 0}, "seconds": 1}
    assert report["kinds"]["policy"]["wrong"] == 1
    out = tmp_path / "fuzz.json"
    out.write_text(json.dumps(report))
    assert fuzz.main(["--again", "--out", str(out)]) == 0
    now = json.loads(out.read_text())
    assert now["wrong"] == []
    assert "foreign" not in now["kinds"]["policy"]["outcomes"]
    assert now["kinds"]["policy"]["outcomes"][outcome] >= 1
    assert now["repeated"] == 1
