"""A figure counts with what it was measured under: machine, date and commit stand beside it."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = sorted([*ROOT.glob("benchmarks/**/*.json"), *ROOT.glob("docs/**/*.json")])
NEEDED = ("cpu", "date", "commit")
# What was written before its benchmark put all of these beside the figures, and cannot be found out
# any more. A new run of the benchmark takes a file off this list.
LACKING = {
    "demo_swav.json": {"commit"},  # machine and date were added later
    "fashion_swav.json": {"cpu", "date", "commit"},  # evaluated before scores had any
    "lightly_losses.json": {"cpu", "date", "commit"},  # losses, not speeds; versions are there
    "recipe_search.json": {"commit"},  # dozens of runs of several days and commits
}


def conditions_of(report: Any) -> Iterator[dict[str, Any]]:
    """Every `conditions` in a report: of all of it, or of each of its parts."""
    if isinstance(report, dict):
        for key, value in report.items():
            yield from [value] if key == "conditions" else conditions_of(value)
    elif isinstance(report, list):
        for part in report:
            yield from conditions_of(part)


def lacking(path: Path) -> set[str]:
    """What any of a file's conditions lack."""
    found = list(conditions_of(json.loads(path.read_text(encoding="utf-8"))))
    return {key for key in NEEDED if not found or any(not each.get(key) for each in found)}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_every_result_has_its_conditions(path: Path) -> None:
    """Or stands on the list of those that lack some, with the reason; no other may."""
    assert lacking(path) == LACKING.get(path.name, set())


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_dates_are_dates(path: Path) -> None:
    """A day, with or without the minute."""
    for each in conditions_of(json.loads(path.read_text(encoding="utf-8"))):
        if "date" in each:
            date.fromisoformat(each["date"][:10])


def test_parts_with_rows_have_conditions_each() -> None:
    """Methods are measured one by one: every row says when, where and of which tree."""
    methods = json.loads((ROOT / "benchmarks/results/methods_demo.json").read_text())["methods"]
    assert len(methods) > 10
    assert all(set(NEEDED) <= set(row["conditions"]) for row in methods.values())


def test_the_list_names_files_that_there_are() -> None:
    """A file that is gone, or renamed, lacks nothing."""
    assert set(LACKING) <= {path.name for path in RESULTS}


def test_the_readme_says_what_was_never_run() -> None:
    """No figure is of a GPU as long as the README says that none was used; and the other way."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    cards = [
        each["gpu"]
        for path in RESULTS
        for each in conditions_of(json.loads(path.read_text(encoding="utf-8")))
        if each.get("gpu") or str(each.get("device", "")).startswith("cuda")
    ]
    assert ("| never run | on a GPU, or on more than one machine" in readme) == (not cards)
    assert "| measured | on 2 CPU cores" in readme
