"""docs/weights.md has the layouts that the code has, and its numbers."""

from pathlib import Path

from trainer.fitted.going_on import LAYER_DECAY, RATE
from trainer.weights.layouts import LAYOUTS, Layout
from trainer.weights.match import LEAST_SHARE

DOCUMENT = (Path(__file__).parents[3] / "docs" / "weights.md").read_text(encoding="utf-8")


def row(layout: Layout) -> str:
    """A layout's line of the table."""
    part = f"`{layout.part}`" if layout.part else "(the top)"
    others = ", ".join(f"`{other}`" if other else "(the top)" for other in layout.others)
    marks = ", ".join(f"`{mark}`" for mark in layout.marks)
    return f"| {layout.name} | {part} | {marks} | {others} | {layout.source} |"


def test_the_table_has_every_layout_in_order() -> None:
    """Line for line what the code has; on a failure print(row(...)) gives what to write."""
    rows = [row(layout) for layout in LAYOUTS]
    assert [line for line in DOCUMENT.splitlines() if line in rows] == rows


def test_its_numbers_are_the_codes() -> None:
    """The share below which weights are refused, and the rates for going on."""
    assert f"below {LEAST_SHARE:.0%}" in DOCUMENT
    assert RATE == 0.25
    assert "a quarter of the method's rate" in DOCUMENT
    assert f"`optim.layer_decay={LAYER_DECAY:g}`" in DOCUMENT
