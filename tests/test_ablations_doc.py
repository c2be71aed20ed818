"""docs/ablations.md: what it shows is the JSON's, missing runs too, and its picture is there."""

import importlib
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.ablations.ablation_table import ABLATIONS

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs/ablations.md").read_text(encoding="utf-8")


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    """docs/of_ablations.py, as docs/make.py has it."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("of_ablations")


def test_the_page_is_the_jsons(page) -> None:
    """Every block is what the JSON gives; `python docs/make.py ablations` mends."""
    assert importlib.import_module("make").made("ablations") == DOCUMENT
    assert len(page.BLOCKS) == DOCUMENT.count("made by docs/make")


def test_every_ablation_has_its_place() -> None:
    """A heading, what the paper found and where, and its claims with an outcome."""
    for name, ablation in ABLATIONS.items():
        section = DOCUMENT.split(f"### {name}\n")[1].split("\n### ")[0]
        assert f"({ablation.source})" in section
        assert ablation.finding in section
        table = DOCUMENT.split("## What holds at this size")[1].split("\n## ")[0]
        rows = [line for line in table.splitlines() if f"(#{name})" in line]
        assert len(rows) >= len(ablation.claims)
        assert all(row.rstrip(" |").endswith(("run", "holds", "fails", "decided")) for row in rows)


def test_what_was_not_run_is_said(page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without any result the page still stands, and calls nothing found."""
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    made = {name: make() for name, make in page.BLOCKS.items()}
    assert made["ablations run"] == "None was run yet."
    assert made["ablation picture"] == "No picture yet."
    assert made["ablation outcomes"].count("not run") == sum(
        len(one.claims) for one in ABLATIONS.values()
    )
    assert made["ablations"].count("Not run yet: ") == len(ABLATIONS)


def test_the_picture_is_of_these_rows(page, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """Drawn anew it has the size of the one that is there: as many ablations."""
    kept = page.PICTURE
    monkeypatch.setattr(page, "PICTURE", tmp_path / "new.png")
    page.draw_picture()
    with Image.open(tmp_path / "new.png") as new, Image.open(kept) as old:
        assert new.size == old.size
