"""docs/scale-simulation.md says what the JSON of the simulation and of the start says."""

import importlib
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCS / "scale-simulation.md").read_text(encoding="utf-8")


@pytest.fixture
def doc(monkeypatch: pytest.MonkeyPatch):
    """docs/of_scale.py as a module."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("of_scale")


def test_the_tables_are_the_jsons(doc) -> None:
    """Every block is what the JSON gives; `python docs/make.py scale` mends."""
    assert importlib.import_module("make").made("scale") == DOCUMENT


def test_a_million_to_a_billion_came_exactly_once(doc) -> None:
    """The committed run has the three sizes, both orders, up to 4,096 ranks, no sample amiss."""
    cases = doc.cases()
    assert [case["num_samples"] for case in cases[::2]] == [10**6, 10**8, 10**9]
    assert all(case["exactly_once"] for case in cases)
    assert all(case["epoch"]["worlds"][-1] == 4096 for case in cases)
    assert all(case["epoch"]["state_bytes"] < 1024 for case in cases)


def test_a_start_on_a_billion_is_within_its_bounds(doc) -> None:
    """Under 2 s of CPU time, 500 MB and 1 KB."""
    report = doc.results("scale")
    assert report["settings"]["samples"] == 10**9
    assert report["results"]["start_cpu_s"] < 2
    assert report["results"]["started_mb"]["VmHWM"] < 500
    assert report["results"]["state_bytes"] < 1024
