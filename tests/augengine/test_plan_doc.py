"""docs/plan.md: its example is real and no field is missing."""

import doctest
from dataclasses import fields
from pathlib import Path

import pytest

from augengine.draw import Field
from augengine.plan import Plan

DOC = Path(__file__).parents[2] / "docs" / "plan.md"


def test_the_example_gives_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of the worked example prints what the page says."""
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(str(DOC), module_relative=False)
    assert attempted > 15
    assert failed == 0


def test_every_field_is_described() -> None:
    """The page names each field of a plan and each field of the random key."""
    text = DOC.read_text()
    for field in fields(Plan):
        assert f"`{field.name}`" in text
    for purpose in Field:
        assert f"{purpose.value} {purpose.name.lower()}" in text
