"""Makes docs/files.md from the first line of every file: `python docs/tree.py`.

A file says itself what it is for; the list only collects it. tests/test_readme.py fails when a file
is missing in the list or gone from the tree; a sentence that has changed is collected by the next
run.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "files.md"
FOLDERS = ("shards", "augengine", "trainer", "tools", "benchmarks")
WIDTH = 31
HEAD = """\
# Every file in a line

Made by `python docs/tree.py` from the first line of each file. [code.md](code.md) says where to
begin; `tests/` mirrors the tree.
"""


def document() -> str:
    """The whole of docs/files.md."""
    return f"{HEAD}\n```text\n{tree()}\n```\n"


def tree() -> str:
    """A line a file, grouped by folder; folders stand at the left edge and end with a slash."""
    lines = []
    for folder in FOLDERS:
        top = ROOT / folder
        for here in [top, *sorted(p for p in top.rglob("*") if p.is_dir())]:
            files = sorted(p for p in here.glob("*.py") if p.name != "__init__.py")
            if files:
                lines.append(_line(0, f"{here.relative_to(ROOT)}/", here / "__init__.py"))
                lines += [_line(1, path.name, path) for path in files]
    return "\n".join(lines)


def _line(level: int, name: str, path: Path) -> str:
    text = f"{'    ' * level}{name}".ljust(WIDTH)
    return f"{text} {_clause(path)}".rstrip()


def _clause(path: Path) -> str:
    """The first sentence of a file's docstring, without its full stop."""
    if not path.is_file():
        return ""
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return words.split("\n")[0].rstrip(".")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
