"""Makes what the documents show of the code and of benchmarks' JSON: `python docs/make.py [WHAT]`.

WHAT is one or more of ablations, evaluation, exchanges, files, methods, performance, scale, plan;
without it, all of them. The text is written by hand; what lies between a mark and its end is made
here. Tests fail when a document is not what the JSON says (test_ablations_doc, test_exchanges,
test_methods_doc, test_performance_doc, test_scale_doc, test_study_doc).
"""

import ast
import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from shards.errors import UsageError, run_command

ROOT = Path(__file__).parents[1]
DOCS, RESULTS = ROOT / "docs", ROOT / "benchmarks" / "results"
MARK, END = "<!-- {}: made by docs/make.py -->", "<!-- end of {} -->"
# WHAT -> the document and the file here whose BLOCKS it shows.
DOCUMENTS = {
    "ablations": ("ablations.md", "of_ablations"),
    "evaluation": ("evaluation.md", "of_evaluation"),
    "exchanges": ("scale.md", "of_exchanges"),
    "methods": ("methods.md", "of_methods"),
    "performance": ("performance.md", "of_performance"),
    "scale": ("scale-simulation.md", "of_scale"),
}
FOLDERS = ("shards", "augengine", "trainer", "tools", "benchmarks")
NOT_MEASURED = "not measured"
FILES_HEAD = """\
# Every file in a line

Made by `python docs/make.py files` from the first line of each file. [code.md](code.md) says
where to begin; `tests/` mirrors the tree.
"""


def with_blocks(document: str, blocks: Mapping[str, Callable[[], str]]) -> str:
    """The document's text with every block made anew."""
    for name, make in blocks.items():
        mark, end = MARK.format(name), END.format(name)
        before, rest = document.split(mark)
        document = f"{before}{mark}\n\n{make()}\n\n{end}{rest.split(end, 1)[1]}"
    return document


def made(what: str) -> str:
    """A document of DOCUMENTS as it should be."""
    name, part = DOCUMENTS[what]
    return with_blocks((DOCS / name).read_text(encoding="utf-8"), import_module(part).BLOCKS)


def results(name: str) -> Any:
    """A file of benchmarks/results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: Collection[int] = (0,)) -> str:
    """A Markdown table; the columns named by `words` hold words, the others numbers."""
    rule = ("---" if column in words else "---:" for column in range(len(head)))
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(rule)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def number(value: float | None, form: str) -> str:
    """The formatted value; empty where there is none."""
    return "" if value is None else format(value, form)


def spread(found: Mapping[str, float], form: str) -> str:
    """Median, and lowest to highest in brackets."""
    return f"{found['median']:{form}} ({found['min']:{form}} to {found['max']:{form}})"


def files() -> str:
    """docs/files.md: a line a file, grouped by folder."""
    lines = []
    for top in (ROOT / folder for folder in FOLDERS):
        for here in [top, *sorted(path for path in top.rglob("*") if path.is_dir())]:
            paths = sorted(path for path in here.glob("*.py") if path.name != "__init__.py")
            if paths:
                lines.append(_line(f"{here.relative_to(ROOT)}/", here / "__init__.py"))
                lines += [_line(f"    {path.name}", path) for path in paths]
    body = "\n".join(lines)
    return f"{FILES_HEAD}\n```text\n{body}\n```\n"


def _line(name: str, path: Path) -> str:
    """With the first sentence of the file's docstring, without its full stop."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    words = ast.get_docstring(ast.parse(text)) or ""
    return f"{name.ljust(31)} {words.partition(chr(10))[0].rstrip('.')}".rstrip()


def main(wanted: Sequence[str]) -> int:
    """Write what is wanted."""
    known = ["files", *DOCUMENTS, "plan"]
    if unknown := [what for what in wanted if what not in known]:
        raise UsageError(f"WHAT is some of {', '.join(known)}, got {unknown[0]!r}; name those")
    for what in wanted or known:
        if what == "files":
            (DOCS / "files.md").write_text(files(), encoding="utf-8")
        elif what == "plan":
            import_module("plan_picture").draw(DOCS / "plan.jpg")
        else:
            (DOCS / DOCUMENTS[what][0]).write_text(made(what), encoding="utf-8")
    if not wanted or "ablations" in wanted:
        import_module("of_ablations").draw_picture()
    if not wanted or "performance" in wanted:
        import_module("of_performance").draw_pictures()
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # benchmarks are not installed
    sys.modules["make"] = sys.modules["__main__"]  # the parts import it by its name
    sys.exit(run_command(lambda: main(sys.argv[1:])))
