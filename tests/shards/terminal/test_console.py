"""Names are printed as they are, in sentences, tables and bars, by every command there is."""

import ast
import io
from pathlib import Path

import pytest
from rich.progress import BarColumn
from rich.table import Table
from rich.text import Text

from shards.terminal.console import new_bar, new_console, words

ROOT = Path(__file__).parents[3]
FOLDERS = ("shards", "augengine", "trainer", "tools", "benchmarks", "docs")
FILES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
NAMES = ["[bs 8] simclr", "[red]x[/]", "[/]", ":cat:", "a\\[b]", "[link=x]", "[1, 2] 3 'q' /a/b"]
MAKERS = {
    "Console",
    "Progress",
    "TextColumn",
    "track",
    "Prompt",
    "Confirm",
    "from_markup",
    "render",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_as_it_is(name: str) -> None:
    """In a sentence, a title, a heading, a cell, beside styled words, and in a bar."""
    file = io.StringIO()
    console = new_console(file, width=100)
    table = Table(title=f"{name} title", caption=f"{name} caption")
    table.add_column(f"{name} heading")
    table.add_row(f"{name} cell")
    console.print(f"{name} sentence")
    console.print(f"{name} styled", style="dim")
    console.print(Text.assemble(("warning:", "bold"), f" {name} warned"))
    console.print(table)
    with new_bar(console) as bar:
        bar.add_task(f"{name} usual", total=1)
    with new_bar(console, words(f"{name.replace('{', '')} fixed"), words(), BarColumn()) as bar:
        bar.add_task(f"{name} task", total=1)
    kinds = "title caption heading cell sentence styled warned usual fixed task"
    assert [kind for kind in kinds.split() if f"{name} {kind}" not in file.getvalue()] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_console_is_made_in_one_place(path: Path) -> None:
    """Whoever makes one of rich's own has markup read a user's words."""
    if path == ROOT / "shards" / "terminal" / "console.py":
        return
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rich":
            found |= {alias.asname or alias.name for alias in node.names}
            assert node.module not in ("rich.markup", "rich.prompt")
            assert not {alias.name for alias in node.names} & {"print", "inspect"}
        assert not (isinstance(node, ast.keyword) and node.arg == "markup")
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            assert called not in found & MAKERS, (
                f"line {node.lineno}: from shards/terminal/console.py"
            )
            if isinstance(node.func, ast.Attribute):
                assert node.func.attr != "from_markup"
