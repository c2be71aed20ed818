"""Rewrites the README's tree from the first line of every file: `python docs/tree.py`.

A file says itself what it is for; the README only collects it. tests/test_readme.py fails when the
two differ.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
START, END = "<!-- tree: made by docs/tree.py -->", "<!-- end of tree -->"
FOLDERS = ("shards", "augengine", "trainer", "tools", "benchmarks")
WIDTH = 31


def tree() -> str:
    """The tree as the README shows it: a line a file, grouped by folder."""
    lines = ["```text"]
    for folder in FOLDERS:
        top = ROOT / folder
        for here in [top, *sorted(p for p in top.rglob("*") if p.is_dir())]:
            files = sorted(p for p in here.glob("*.py") if p.name != "__init__.py")
            if files:
                lines.append(_line(0, f"{here.relative_to(ROOT)}/", here / "__init__.py"))
                lines += [_line(1, path.name, path) for path in files]
    return "\n".join([*lines, "```"])


def with_tree(readme: str) -> str:
    """The README's text with its tree replaced by the one of now."""
    before, rest = readme.split(START)
    return f"{before}{START}\n\n{tree()}\n\n{END}{rest.split(END)[1]}"


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
    README.write_text(with_tree(README.read_text(encoding="utf-8")), encoding="utf-8")
